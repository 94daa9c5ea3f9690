"""The words of other providers and families, read in the forms of this package.

`content_blocks.py` reads messages, `call_words.py` calls, and `argument_types.py` the values of their arguments.
"""
