"""The driver of a search: the only place that waits for tokens and scores.

Read `runner.py` first: it steps through a search and keeps its limits. `work.py` turns requests into jobs and back,
and counts costs. `inbox.py` receives the policy's tokens, for callers that block and for event loops.
"""
