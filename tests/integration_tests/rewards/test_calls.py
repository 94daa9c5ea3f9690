import subprocess
import sys

A_JUDGE_LEFT_BEHIND = """
import threading
import torch
from langchain_darwin.rewards.calls import in_thread

begun = threading.Event()

def judge():
    torch.set_num_threads(1)  # several wait for each other on a busy machine, longer than exit does
    begun.set()
    matrix = torch.ones(300, 300)
    for _ in range(300):
        matrix = (matrix @ matrix).clamp(max=1)

in_thread(judge)
begun.wait()
"""


def test_the_interpreter_exits_while_a_judge_computes():  # cut off in native code, it would abort the process
    done = subprocess.run([sys.executable, "-c", A_JUDGE_LEFT_BEHIND], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
