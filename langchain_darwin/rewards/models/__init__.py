"""Rewards from models in this process: reward models and heads fitted to preferences."""
