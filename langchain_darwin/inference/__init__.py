"""Hugging Face models in this process. Knows no policy and no reward; both stand on it."""
