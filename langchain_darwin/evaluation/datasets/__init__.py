"""Prompt sets and their formats: prompts files, IFEval, AlpacaEval, MT-Bench."""
