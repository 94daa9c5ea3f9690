"""Constrained output: grammars are compiled, matched, and completed in few tokens.

Read `grammars.py` (a constraint becomes a grammar), `matcher.py` (one response in its grammar) and
`shortest_completion.py` (a text that runs out of tokens). `lazy_grammars.py` makes them when first needed.
`enforceable.py` rewrites a JSON Schema in the words that xgrammar enforces, with the help of the four `schema_*`
modules.
"""
