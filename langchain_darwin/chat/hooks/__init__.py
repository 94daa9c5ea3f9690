"""Methods that LangChain calls, apart from those that make an answer: fields, `bind`, batches, the model profile."""
