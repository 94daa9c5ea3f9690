"""The statistics of a comparison.

`order_statistics.py` computes Best-of-n for every n from one pool of samples. `equal_seconds.py` finds the n that
fits a time. `paired.py` compares two searches directly. `intervals.py` gives means with bootstrap intervals.
"""
