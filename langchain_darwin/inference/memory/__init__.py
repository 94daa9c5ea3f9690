"""Cached keys and values, and one forward pass over rows of different lengths.

Read `rows.py` first: it is what policies and rewards ask of a memory. `kv_slots.py` is the usual one.
`placement.py` decides where texts go, in numpy alone. `slot_table.py` records what each slot holds, and
`slot_cache.py` holds the tensors. `length_classes.py` and `budget.py` bound the memory. `forward.py` and
`passes.py` compute. `row_caches.py` is the slower memory for models whose state cannot be cut.
"""
