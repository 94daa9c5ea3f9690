"""When a stream's text is there: first chunk, share before the end, end. Prints a table for docs/streaming.md.

    python benchmarks/streaming.py                    # the embedded model, about two minutes on an idle machine
    python benchmarks/streaming.py --tokens 48 --repeats 1

All answers have the same forced length; the reward is a rule, and next to free.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

from workload import measure_all, variety

from langchain_darwin import ChatDarwin
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.search import BestOfN, Darwin, Particles

SEARCHES = {
    "BestOfN(n=1)": BestOfN(n=1),
    "BestOfN(n=5)": BestOfN(n=5),
    "Darwin()": Darwin(),
    'Darwin(mutation="each")': Darwin(mutation="each"),
    'Darwin(beams=3, replacement="top_k", keep=1)': Darwin(beams=3, replacement="top_k", keep=1),
    "Particles()": Particles(),
    "Particles(n=3, period=10, temperature=0.1)": Particles(n=3, period=10, temperature=0.1),
}


@dataclass(frozen=True)
class Run:
    """One streamed answer; times in seconds since the call."""

    first: float
    early: float  # share of the text's characters that came before the last step of the search
    total: float


def measure(policy, search, prompt, tokens, seed):
    """Stream one answer. What comes in the final burst, once the search has ended, is not early."""
    ended = []

    def note(event):
        if type(event).__name__ == "Finished":
            ended.append(time.perf_counter())

    model = ChatDarwin(
        model=policy,
        reward=variety,
        search=search,
        min_tokens=tokens,
        max_tokens=tokens,
        seed=seed,
        on_search_event=note,
    )
    started = time.perf_counter()
    came = [(time.perf_counter(), len(chunk.text)) for chunk in model.stream(prompt) if chunk.text]
    total = time.perf_counter() - started
    early = sum(size for at, size in came if at < ended[0])
    return Run(came[0][0] - started, early / sum(size for _, size in came), total)


def print_table(runs, tokens):
    print(f"Answers of {tokens} tokens, medians of {len(next(iter(runs.values())))} runs.\n")
    print("| search | first text after | share streamed before the end | all after |")
    print("|---|---|---|---|")
    for name, found in runs.items():
        first, total = (statistics.median(getattr(run, field) for run in found) for field in ("first", "total"))
        early = statistics.fmean(run.early for run in found)
        print(f"| `{name}` | {first:.2f} s | {early:.0%} | {total:.2f} s |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    runs = measure_all(measure, TransformersPolicy(options.model), SEARCHES, options.tokens, options.repeats)
    print_table(runs, options.tokens)


if __name__ == "__main__":
    main()
