"""Rewards from servers over HTTP."""
