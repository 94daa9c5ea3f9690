"""Schemas of answers and tools: from what users pass to JSON Schema, and answers held against them."""
