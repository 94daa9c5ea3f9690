"""Rewards made of other rewards.

Read `composite.py` first: it asks all parts. `weighted_sum.py`, `ensemble.py`, `constraints.py`, `guards.py` and
`normalized.py` combine their scores. `samples.py` holds the answers that rewards are calibrated on.
"""
