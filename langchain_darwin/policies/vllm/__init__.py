"""The vLLM policy: sequences drafted by an engine, checked and ended here."""
