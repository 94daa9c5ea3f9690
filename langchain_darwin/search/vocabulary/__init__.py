"""The words that a search is written with.

Read `beam.py` (one text of a search), `requests.py` (what a search asks for), `events.py` (what it reports) and
`task.py` (the question, which makes the beams). `search/base.py` exports all of these names.
"""
