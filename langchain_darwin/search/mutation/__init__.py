"""Rewriting an instruction: prompts, wording, reading, and the check for drift."""
