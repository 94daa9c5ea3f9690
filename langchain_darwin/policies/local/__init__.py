"""The local policy: a decode engine in this process."""
