"""The vLLM policy: sequences are drafted by vLLM's engine, then checked and ended here.

Read `policy.py` first, then `drafting.py` (texts that grow) and `backend.py` (the protocol of what computes them).
`prefetched.py` keeps tokens that were drawn ahead. `connection.py` is what policies of one served model share.
`replicas.py` chooses a server, `server.py` asks it over HTTP, and `requests.py` writes requests and reads answers.
`refusals.py` names errors, and `tokenizer.py` loads the tokenizer. The folder `engine` is vLLM in this process.
"""
