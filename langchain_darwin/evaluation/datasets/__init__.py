"""Sets of prompts and their formats.

Read `prompts.py` first: it loads a set from a file or the Hugging Face hub. `ifeval.py` holds IFEval's verifiers as
rewards. `alpaca_eval.py` and `mt_bench.py` write answers in those benchmarks' own formats.
"""
