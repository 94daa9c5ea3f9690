"""The vLLM policy: sequences are drafted by vLLM's engine, then checked and ended here.

Read `policy.py` first, then `drafting.py` (texts that grow on a server). `prefetched.py` keeps tokens that were
drawn ahead. `connection.py` is what policies of one served model share. `replicas.py` chooses a server, `server.py`
asks it over HTTP, `requests.py` writes requests and reads answers, and `refusals.py` names errors. `tokenizer.py`
loads the tokenizer.
"""
