"""Rewards from servers over HTTP.

Read `remote_reward.py` first. `endpoints.py` knows what each kind of server is sent and answers.
"""
