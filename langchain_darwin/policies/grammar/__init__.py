"""Grammars that constrain decoding: compiled, matched, and completed in few tokens."""
