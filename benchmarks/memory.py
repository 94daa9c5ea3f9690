"""Memory of one process that serves many requests at once, a few of them with very long prompts.

    python benchmarks/memory.py                  # 51 requests, three of 7,300 tokens; keys and values within 2.5 GiB
    python benchmarks/memory.py --gib 0 --long 0 # the default share of free memory, short prompts only

Each request is one prompt continued by several texts, in periods, as a search does. Prints what was done, the most
memory that the process had at a time, and the most keys and values.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from langchain_darwin.inference.memory.budget import free_bytes
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.local.policy import TransformersPolicy

GIB = 2**30


class Peak:
    """Most bytes of keys and values after any step."""

    def __init__(self) -> None:
        self.bytes = 0
        step = KVSlots.step

        def noting(store: KVSlots, tokens: torch.Tensor, ids: list[int]) -> torch.Tensor:
            output = step(store, tokens, ids)
            self.bytes = max(self.bytes, store.bytes)
            return output

        KVSlots.step = noting  # type: ignore[assignment, method-assign]


def search(policy: TransformersPolicy, prompt: tuple[int, ...], texts: int, tokens: int, period: int) -> int:
    """Continue a prompt by several texts, period by period; the number of new tokens."""
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens)
    prefixes = [prompt] * texts
    new = 0
    for _ in range(0, tokens, period):
        jobs = [Job(prefix, len(prompt), sampling, key, period) for key, prefix in enumerate(prefixes)]
        growths = policy.submit(jobs).result()
        new += sum(len(growth.tokens) for growth in growths)
        prefixes = [prefix + growth.tokens for prefix, growth in zip(prefixes, growths, strict=True)]
        prefixes[-1] = prefixes[0]
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=51)
    parser.add_argument("--long", type=int, default=3, help="requests with long prompts")
    parser.add_argument("--short-tokens", type=int, default=300)
    parser.add_argument("--long-tokens", type=int, default=7300)
    parser.add_argument("--texts", type=int, default=5, help="texts of a request")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens of a text")
    parser.add_argument("--period", type=int, default=8)
    parser.add_argument("--gib", type=float, default=2.5, help="for keys and values; 0 is the default share")
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    options = parser.parse_args()
    device = torch.device("cpu")
    share = min(1.0, options.gib * GIB / free_bytes(device)) if options.gib else 0.5
    policy = TransformersPolicy(options.model, device="cpu", kv_memory=share)
    lengths = [options.long_tokens] * options.long + [options.short_tokens] * (options.requests - options.long)
    generator = torch.Generator().manual_seed(0)
    size = policy._load().model.config.vocab_size  # noqa: SLF001
    prompts = [tuple(torch.randint(size // 2, (n,), generator=generator).tolist()) for n in lengths]
    peak, began = Peak(), time.perf_counter()
    with ThreadPoolExecutor(len(prompts)) as pool:
        work = [pool.submit(search, policy, p, options.texts, options.tokens, options.period) for p in prompts]
        new = sum(each.result() for each in work)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{len(prompts)} requests, {options.long} of {options.long_tokens} tokens, {options.texts} texts each")
    print(f"new tokens {new}, {time.perf_counter() - began:.0f} s, {threading.active_count()} threads at the end")
    print(f"keys and values at most {peak.bytes / GIB:.2f} GiB, process at most {most / GIB:.2f} GiB")


if __name__ == "__main__":
    main()
