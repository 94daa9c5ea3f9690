"""Facts about text that several folders need.

`thinking.py` finds the thinking before an answer, `stop_strings.py` the end of an answer. `unicode_text.py` mends
text that UTF-8 cannot hold.
"""
