"""Schemas of answers and tools: from the types that users pass to JSON Schema, and back.

Read `conversion.py` first. `recursion.py` is about recursive schemas, and `wrapping.py` about schemas that are no
objects. `answer_checks.py` compares an answer with its schema.
"""
