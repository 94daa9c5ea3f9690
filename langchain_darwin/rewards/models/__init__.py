"""Rewards from models in this process: reward models, and heads fitted to preferences.

`reward_model.py` is a reward model by id or folder. `classifier.py` scores with it, `classifier_loading.py` loads
it, and `encoding.py` writes what it reads. `preference.py` is a head on a language model: `features.py` computes
hidden states, and `bradley_terry.py` fits the head.
"""
