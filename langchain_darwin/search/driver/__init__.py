"""The driver of a search: the only place that waits for tokens and scores."""
