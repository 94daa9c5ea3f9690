"""How often a reward fitted to preference pairs prefers the right one, next to the length of the answers.

    python benchmarks/preference.py pairs.jsonl                 # the embedded model, all pairs
    python benchmarks/preference.py pairs.jsonl --pairs 400     # a random part of them
    python benchmarks/preference.py pairs.jsonl --pooling last  # features at the answer's end, not their mean over it

The file has a JSON object with prompt, chosen and rejected in each line, such as hh-rlhf's. Accuracies are on pairs
that neither the head nor its regularisation was fitted to, with the standard error over pairs.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from langchain_darwin.rewards import PreferenceReward, fit_preference_reward
from langchain_darwin.rewards.models.preference import read_pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="preference pairs, as JSON lines")
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    parser.add_argument("--layer", type=int, help="read features after this many layers")
    parser.add_argument("--pooling", choices=("mean", "last"), default="mean")
    parser.add_argument("--pairs", type=int, help="use a random part of the pairs")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="keep the reward here")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("langchain_darwin.rewards.models.preference").setLevel(logging.INFO)
    if not options.file.is_file():
        parser.error(f"{options.file} is missing: it must be a file of JSON lines with prompt, chosen and rejected")
    pairs = read_pairs(options.file)
    random.Random(options.seed).shuffle(pairs)
    report(pairs[: options.pairs], options)


def report(pairs, options):
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or scratch
        started = time.perf_counter()
        settings = {"layer": options.layer, "pooling": options.pooling, "folds": options.folds, "seed": options.seed}
        reward = fit_preference_reward(pairs, options.model, folder=folder, **settings)
        seconds = time.perf_counter() - started
        loaded = PreferenceReward.load(folder)
        off = np.abs(np.subtract(scores(loaded, pairs), scores(reward, pairs))).max()
    facts = reward.facts
    print(f"{len(pairs)} pairs, {options.folds} folds, l2={facts['l2']:g}, {seconds:.0f} s\n")
    print("| who decides | accuracy | standard error |\n|---|---|---|")
    print(f"| fitted head | {facts['accuracy']:.3f} | {facts['accuracy_standard_error']:.3f} |")
    for name, sign in (("the shorter answer", -1), ("the longer answer", 1)):
        right = by_length(pairs, sign)
        print(f"| {name} | {right.mean():.3f} | {right.std(ddof=1) / np.sqrt(len(right)):.3f} |")
    print(f"\nLoaded back, its scores differ by {off:.2g} at most; a model's scores are rounded.")


def by_length(pairs, sign):
    """1 where the longer (sign 1) or shorter (-1) answer is the chosen one, 0.5 for a tie."""
    gaps = np.array([sign * (len(pair["chosen"]) - len(pair["rejected"])) for pair in pairs])
    return np.where(gaps == 0, 0.5, gaps > 0)


def scores(reward, pairs, count=20):
    from langchain_core.messages import AIMessage

    from langchain_darwin.rewards.models.preference import conversation

    return [reward(conversation(pair["prompt"]), [AIMessage(pair["chosen"])]) for pair in pairs[:count]]


if __name__ == "__main__":
    main()
