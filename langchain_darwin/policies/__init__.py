"""Policies: language models that continue token ids."""
