"""What judging a text costs on the embedded model, for docs/rewards.md.

    python benchmarks/rewards.py

Five answers of 80 tokens to one question are judged, then the same answers 40 tokens longer: what a round of a search
asks for. Heads are random, since the numbers do not matter.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage
from searches import untrained_reward

from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.rewards import Judge, PreferenceReward, RepetitionPenalty, SelfReward, as_reward
from langchain_darwin.rewards.models.preference import Backbone

WORDS = (
    "the",
    "old",
    "keeper",
    "of",
    "light",
    "went",
    "down",
    "to",
    "sea",
    "and",
    "looked",
    "for",
    "ships",
    "that",
    "night",
)


def answers(count, tokens, codec, seed):
    """Random texts; a longer one begins like the shorter one of the same seed."""
    return [AIMessage(codec.decode(ids[:tokens])) for ids in (long_text(codec, seed + at) for at in range(count))]


def long_text(codec, seed):
    rng = np.random.default_rng(seed)
    return codec.encode_text(" ".join(rng.choice(WORDS, 400)))


def rewards(policy, folder):
    width = 576
    rng = np.random.default_rng(0)
    return {
        "`RepetitionPenalty()`": RepetitionPenalty(),
        "`PreferenceReward`": PreferenceReward(Backbone(), rng.normal(size=width), np.zeros(width)),
        "`RewardModel` of the policy's size": untrained_reward(policy, folder),
        "`SelfReward()`": SelfReward(partial=True),
        '`Judge("self")`': Judge("self", partial=True),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5, help="answers judged at a time")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    policy = TransformersPolicy()
    print(f"Milliseconds per text, {options.count} texts at a time, medians of {options.repeats}.\n")
    print("| reward | 80 tokens, new | the same, 40 tokens longer |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, reward in rewards(policy, folder).items():
            new, longer = measure(as_reward(reward).bind(policy), policy.codec, options)
            print(f"| {name} | {new:.3g} | {longer:.3g} |", flush=True)


def measure(reward, codec, options):
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(options.repeats + 1):
        question = [HumanMessage(f"Reader {repeat} asks: what happened at the lighthouse?")]
        for at, tokens in enumerate((80, 120)):
            texts = answers(options.count, tokens, codec, seed=100 * repeat)
            started = time.perf_counter()
            reward.score(question, texts)
            times[at].append((time.perf_counter() - started) / options.count * 1000)
    return [statistics.median(each[1:]) for each in times]  # the first loads the model


if __name__ == "__main__":
    main()
