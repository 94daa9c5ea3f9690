"""Rewards from language models that grade answers.

`judge.py` asks a chat model or a policy for a grade, and `grading.py` reads it. `self_reward.py` asks the policy
for Yes or No.
"""
