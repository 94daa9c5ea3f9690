"""Hugging Face models in this process. This folder knows no policy and no reward; both are built on it.

Read `loading.py` first: it loads a chat model once per process. The folder `checkpoints` reads a model's files, and
`embedded_model.py` finds the bundled one. `chat_codec.py` turns conversations into token ids. The folder `prompts`
sees to it that no text is lost in them. `devices.py` resolves `device` and `dtype`. The folder `memory` keeps keys and
values, and `kernels` makes steps fast. `shared_models.py` keeps loaded weights, and `out_of_memory.py` recognises
failed allocations.
"""
