"""How often the demo's DARWIN beats the plain answer and Best-of-N: the demo's question over many seeds.

    python benchmarks/demo_seeds.py --seeds 20

All searches run at once and share the decode batch, so their seconds say nothing. In float32, the demo's own, a seed
gives the answers of `langchain-darwin demo --seed`, up to what another CPU makes of rounding.
"""

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

from langchain_darwin.cli.demo import FACTS, SEED, answer, embedded_policy, searches, told
from langchain_darwin.search.best_of_n import BestOfN

Row = tuple[float, int, int]
"""Reward, facts told, tokens decoded."""


def measure(policy, search, seed) -> Row:
    message = answer(policy, search, seed)
    facts = message.response_metadata["darwin"]
    return float(facts["reward"]), len(told(message.text)), facts["tokens"]["decoded"]


def report(rows: dict[str, list[Row]], seeds: list[int]) -> None:
    for number, seed in enumerate(seeds):
        line = "  ".join(f"{name} {column[number][0]:.3f}" for name, column in rows.items())
        print(f"seed {seed:3}  {line}{'  (the demo)' if seed == SEED else ''}")
    print(f"\n{'':14}{'reward':>8}{'facts':>12}{'tokens':>8}")
    for name, column in rows.items():
        reward, told_facts, tokens = (statistics.mean(values) for values in zip(*column, strict=True))
        print(f"{name:14}{reward:8.3f}{told_facts:6.2f} of {len(FACTS)}{tokens:8.0f}")
    print()
    for name, column in rows.items():
        if name != "DARWIN":
            compare(name, rows["DARWIN"], column)


def compare(name: str, ours: list[Row], theirs: list[Row]) -> None:
    above = sum(our[0] > their[0] for our, their in zip(ours, theirs, strict=True))
    below = sum(our[0] < their[0] for our, their in zip(ours, theirs, strict=True))
    print(f"DARWIN against {name}: above in {above}, equal in {len(ours) - above - below}, below in {below}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many, from 1 (default: 20)")
    parser.add_argument("--at-once", type=int, default=12, help="searches that share the batch (default: 12)")
    options = parser.parse_args()
    seeds = list(range(1, options.seeds + 1))
    policy = embedded_policy()
    compared = {**searches(), "best of 10": BestOfN(n=10)}
    jobs = [(search, seed) for search in compared.values() for seed in seeds]
    results = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for done, row in enumerate(pool.map(lambda job: measure(policy, *job), jobs), 1):
            results.append(row)
            print(f"\r{done} of {len(jobs)} searches", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = {name: results[i * len(seeds) :][: len(seeds)] for i, name in enumerate(compared)}
    report(rows, seeds)


if __name__ == "__main__":
    main()
