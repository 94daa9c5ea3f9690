"""Searches: algorithms that turn a policy's tokens and a reward's scores into an answer, one a file."""
