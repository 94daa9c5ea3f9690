"""Rewards from language models that grade answers."""
