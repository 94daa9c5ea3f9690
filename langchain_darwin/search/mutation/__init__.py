"""Rewriting an instruction, differently for each beam.

Read `mutate.py` first. `wording.py` separates the wording of an instruction from text and code below it.
`prompts.py` holds what the model is asked, and `reading.py` reads its answer. `drift.py` checks that a rewriting
asks for the same.
"""
