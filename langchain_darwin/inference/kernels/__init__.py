"""Code that makes one decode step fast on one kind of device.

`packed_linear.py` lays weights out once for the CPU. `step_attention.py` passes queries in even numbers.
`step_threads.py` finds the number of threads that is fastest here. Each gives the same results as the plain code,
up to rounding.
"""
