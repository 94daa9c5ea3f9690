"""Rewards: what a good answer is, as numbers; higher is better."""
