"""The embedded policy beside other work on the same machine. Prints a table for docs/performance.md.

    python benchmarks/beside.py                       # about five minutes on two cores
    python benchmarks/beside.py --repeats 3 --tokens 48

Each case decodes texts of five beams: on the machine alone, beside a process that keeps one core busy, and in two
processes at once. Times are those of decoding; each process has loaded the model and decoded a few tokens before.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

BEAMS = 5
CASES = {"alone": (1, 0), "beside one busy process": (1, 1), "two processes, together": (2, 0)}
"""Name -> how many processes decode, and how many others are busy."""


def worker(dtype: str) -> None:
    """Decode once for each number of tokens on standard input; print tokens a second and a checksum."""
    from langchain_darwin.policies.base import Job, Sampling
    from langchain_darwin.policies.local.policy import TransformersPolicy

    policy = TransformersPolicy(dtype=dtype, device="cpu")
    prompt = policy.codec.encode_chat([{"role": "user", "content": "Write a story about a lighthouse."}])

    def decode(tokens: int) -> tuple[float, int]:
        sampling = Sampling(max_tokens=tokens, min_tokens=tokens)
        began = time.perf_counter()
        grown = policy.submit([Job(prompt, len(prompt), sampling, key) for key in range(BEAMS)]).result()
        rate = sum(len(growth.tokens) for growth in grown) / (time.perf_counter() - began)
        return rate, hash(tuple(growth.tokens for growth in grown)) % 10**6

    decode(30)  # long enough for what is tried out on the first steps
    print("ready", flush=True)
    for line in sys.stdin:
        print(*decode(int(line)), flush=True)


def measure(workers: list[subprocess.Popen[str]], busy: int, tokens: int) -> tuple[float, set[str]]:
    """Tokens a second of all workers together, and the different texts that they wrote."""
    with contextlib.ExitStack() as stack:
        for _ in range(busy):
            stack.enter_context(spinning())
        for each in workers:
            ask(each, tokens)
        answers = [answer(each).split() for each in workers]
    return sum(float(rate) for rate, _ in answers), {text for _, text in answers}


@contextlib.contextmanager
def spinning() -> Iterator[None]:
    """A process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def ask(process: subprocess.Popen[str], tokens: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{tokens}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=24, help="of each beam (default: 24)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.dtype)
        return
    command = [sys.executable, __file__, "--worker", "--dtype", options.dtype]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for each in workers:
            answer(each)
        rates: dict[str, list[float]] = {name: [] for name in CASES}
        texts: set[str] = set()
        for _ in range(options.repeats):
            for name, (count, busy) in CASES.items():
                rate, found = measure(workers[:count], busy, options.tokens)
                rates[name].append(rate)
                texts |= found
    finally:
        for each in workers:
            each.kill()
    print(f"| {options.dtype}, {BEAMS} beams | tokens/s | least | most |\n|---|---:|---:|---:|")
    for name, measured in rates.items():
        print(f"| {name} | {statistics.median(measured):.1f} | {min(measured):.1f} | {max(measured):.1f} |")
    print(f"\n{len(texts)} different texts")


if __name__ == "__main__":
    main()
