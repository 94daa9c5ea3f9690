"""The methods that LangChain calls besides those that make an answer.

`fields.py` holds the fields of `ChatDarwin` and their checks. `once.py` resolves a call's settings once.
`binding.py` is `bind` and its relatives, `batching.py` runs many inputs at once, and `profile.py` describes a model
before it is loaded.
"""
