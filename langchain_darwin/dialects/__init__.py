"""How families of models write chats, tools, reasoning and schemas, and how their answers are read."""
