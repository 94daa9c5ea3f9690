"""The words that a search is written with: beams, requests, events, and the task."""
