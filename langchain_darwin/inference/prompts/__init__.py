"""Prompts that lose nothing: what the chat codec does before and after a chat template.

`chat_forms.py` changes a conversation towards what strict templates take. `tagged_text.py` finds text that a template
leaves out. With `control_tokens.py`, text stays text.
"""
