"""A model's files: what a name means, which files are damaged, and how they are read."""
