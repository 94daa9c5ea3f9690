"""The local policy: a decode engine in this process.

Read `policy.py` (the policy that searches see), `decode_loop.py` (the callers' side of its thread) and `engine.py`
(the thread: receive, schedule, step, deliver). `scheduler.py` decides who joins the batch. `live_rows.py` maps rows
to requests. `sampler.py` draws their next tokens with `sampling.py`. `proposals.py` answers requests for the
likeliest tokens. `dead_device.py` recognises failures after which the process cannot use its device any more.
"""
