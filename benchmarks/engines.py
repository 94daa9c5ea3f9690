"""Tokens per second of vLLM's engine in this process, of a vLLM server and of transformers, on the same work.

    make vllm-venv                                      # once
    python -m benchmarks.engines                        # on CPUs, some minutes
    VLLM_PYTHON=python python -m benchmarks.engines --model org/name --dtype bfloat16 --gpu

The work is that of a search with period 16: all beams of one prompt grow by 16 tokens, are handed back, and grow on,
so that later rounds read what is remembered. Lengths are forced. Each way runs in a process of its own, one after the
other, and is warm before it is timed. The seconds until its first token are told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_darwin import TransformersPolicy, VLLMPolicy
from langchain_darwin.policies.base import Job, Policy, Sampling

WAYS = ("engine", "server", "transformers")
PERIOD = 16
QUESTION = "Explain to a child why the sky is blue, and why it is red in the evening."
CPU = {"max_model_len": 2048, "kv_cache_memory_bytes": 2**30, "enforce_eager": True}


def rounds(policy: Policy, prompt: tuple[int, ...], beams: int, count: int, key: int) -> dict[str, float]:
    """Grow all beams `count` times by a period; what it took."""
    sampling = Sampling(0.7, top_k=40, max_tokens=PERIOD * count, min_tokens=PERIOD * count)
    texts, prefilled, began = [prompt] * beams, 0, time.perf_counter()
    for number in range(count):
        jobs = [Job(text, len(prompt), sampling, key + beam, PERIOD) for beam, text in enumerate(texts)]
        grown = policy.submit(jobs).result()
        texts = [text + growth.tokens for text, growth in zip(texts, grown, strict=True)]
        prefilled += sum(growth.prefilled for growth in grown) if number else 0
    seconds = time.perf_counter() - began
    return {"rate": beams * count * PERIOD / seconds, "prefilled": prefilled / (beams * max(1, count - 1))}


def measure(policy: Policy, options: argparse.Namespace) -> dict[str, float]:
    """The medians of all runs after one that is not counted."""
    began = time.perf_counter()
    prompt = policy.codec.encode_chat([{"role": "user", "content": QUESTION}])
    rounds(policy, prompt, 1, 1, -1)
    start = time.perf_counter() - began
    rounds(policy, prompt, options.beams, 1, -2)
    runs = [rounds(policy, prompt, options.beams, options.rounds, 1000 * run) for run in range(options.runs)]
    rates = [run["rate"] for run in runs]
    facts = {"rate": statistics.median(rates), "least": min(rates), "most": max(rates), "start": start}
    return facts | {"prefilled": statistics.median(run["prefilled"] for run in runs)}


@contextlib.contextmanager
def policy_of(way: str, options: argparse.Namespace) -> Iterator[Policy]:
    if way == "engine":
        yield VLLMPolicy(model=options.model, dtype=options.dtype, engine_options={} if options.gpu else CPU)
    elif way == "transformers":
        yield TransformersPolicy(options.model, dtype=options.dtype)
    else:
        from tests.vllm_server import NAME, serve

        with serve(dtype=options.dtype, extra=["--enable-prompt-tokens-details"], model=options.model) as server:
            yield VLLMPolicy(server.base_url, NAME, tokenizer=options.model)


def in_own_process(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Run this script for one way, by vLLM's Python if the engine needs it."""
    python = os.environ.get("VLLM_PYTHON", ".venv-vllm/bin/python") if way == "engine" else sys.executable
    command = [python, "-m", "benchmarks.engines", *sys.argv[1:], "--model", options.model, "--way", way]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def table(found: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "| | tokens/s, median | min-max | read again per beam and round | seconds to the first tokens |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for way, facts in found.items():
        spread = f"{facts['least']:.1f}-{facts['most']:.1f}"
        yield f"| {way} | {facts['rate']:.1f} | {spread} | {facts['prefilled']:.0f} | {facts['start']:.0f} |"


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--gpu", action="store_true", help="leave out the settings for CPUs")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.model is None:
        from langchain_darwin.inference.embedded_model import embedded_model_path

        options.model = str(embedded_model_path())
    if options.way is None:
        print("\n".join(table({way: in_own_process(way, options) for way in options.ways})))
        return
    with policy_of(options.way, options) as policy:
        print(json.dumps(measure(policy, options)))


if __name__ == "__main__":
    main()
