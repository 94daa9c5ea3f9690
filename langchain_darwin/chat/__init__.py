"""Between LangChain's hooks and a search: settings of a call, its run, its results and its stream."""
