"""The settings of a call: their names, their values, and all of them resolved once.

Read `call.py` first: it resolves them into one frozen object. `values.py` checks each value, and `names.py` knows
the names that other packages use.
"""
