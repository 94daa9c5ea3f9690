"""The way between LangChain's hooks and a search.

Read `prepare.py` first: it makes a search ready from a call's settings and messages. `invocation.py` runs it and
makes LangChain's result of its outcome. `streaming.py` finds the text that is certain, and `chunks.py` writes it as
chunks. `cancellation.py` ends searches from outside, and `callbacks.py` reports progress. `plain.py` keeps results
to built-in types, and `effects.py` warns about settings without effect. The folder `settings` resolves a call's
settings, and `hooks` holds LangChain's other methods.
"""
