"""vLLM's engine in this process, in the place of a server over HTTP."""
