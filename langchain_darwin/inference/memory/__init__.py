"""Cached keys and values: which prefixes are held, and one forward pass over ragged rows."""
