"""A model's files: the meaning of a model's name, the check of its files, and reading them.

Read `sources.py` (a name becomes a folder, a hub id or a refusal), then `file_checks.py` and `pretrained.py`.
`model_files.py` reads the small files alone, without torch and without a network.
"""
