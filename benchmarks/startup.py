"""How long it takes until a search can begin: importing the package, making a model, loading the weights.

    python benchmarks/startup.py

Every number is the median of five processes; making a `ChatDarwin` is repeated in each, the first not counted, as it
also imports what LangChain needs. The embedded model was converted before, which its first use does.
"""

import statistics
import subprocess
import sys

CASES = {
    "`import langchain_darwin`": "import langchain_darwin",
    "`from langchain_darwin import ChatDarwin`": "from langchain_darwin import ChatDarwin",
    "`ChatDarwin()`": """
from langchain_darwin import ChatDarwin
ChatDarwin()
began = time.perf_counter()
ChatDarwin()""",
    "the embedded model's weights and tokenizer, torch and transformers imported": """
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.inference.loading import load_model
began = time.perf_counter()
load_model(resolve_model(None))""",
    "the first token of an answer, from nothing": """
from langchain_darwin import BestOfN, ChatDarwin
ChatDarwin(reward=lambda messages, responses: [0.0], search=BestOfN(n=1), max_tokens=1).invoke("Hello")""",
}


def seconds(code: str) -> float:
    script = f"import time\nbegan = time.perf_counter()\n{code}\nprint(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    seconds(CASES["the first token of an answer, from nothing"])  # converts the model, and reads files from the disk
    print("| | ms |\n|---|---:|")
    for name, code in CASES.items():
        took = statistics.median(seconds(code) for _ in range(5))
        print(f"| {name} | {1000 * took:.3g} |", flush=True)


if __name__ == "__main__":
    main()
