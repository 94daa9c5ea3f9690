"""The ways in which model families write chats, tools, reasoning and schemas, and the reading of their responses.

Read `dialect.py` first: with `probe.py`, it finds out what a chat template can do by itself. `conversation.py` turns
messages into a template's conversation. `tool_use.py` and `structured_output.py` hold what a call asks for, and
`structural_tags.py` its grammar. `formats.py` lists the forms of tool calls, and `plain_text.py` serves templates
without tools. `response_reader.py` takes a response apart, with `thinking.py`. The folder `reading` reads the words
of other providers and families.
"""
