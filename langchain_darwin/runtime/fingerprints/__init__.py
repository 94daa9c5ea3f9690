"""Fingerprints of code and data: what tells one reward from another for a cache."""

from __future__ import annotations

from langchain_darwin.runtime.fingerprints.digests import digest as digest
from langchain_darwin.runtime.fingerprints.digests import identity_of as identity_of
