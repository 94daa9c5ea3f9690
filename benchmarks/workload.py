"""What several benchmarks of searches have in common: the prompts, a reward that is next to free, the rounds."""

from __future__ import annotations

import itertools

from langchain_darwin.search import BestOfN

PROMPTS = (
    "Explain how a sailing boat can move against the wind.",
    "Write a short story about a lighthouse keeper and a storm.",
    "Give advice to someone who is moving to a new city alone.",
)


def variety(_messages, responses):
    """The share of different words in a text."""
    words = [response.text.lower().split() for response in responses]
    return [len(set(found)) / len(found) if found else 0.0 for found in words]


def measure_all(measure, policy, searches, tokens, repeats):
    """`measure(policy, search, question, tokens, seed)` of each search, by name: a run for each repeat and prompt.

    Every round runs all of them, so that a busy moment spoils no single one. No two runs have the same question, or
    the later ones would find it in the policy's memory.
    """
    numbers = itertools.count(100)
    measure(policy, BestOfN(n=5), PROMPTS[0], 8, seed=0)  # loads the model
    runs: dict[str, list] = {name: [] for name in searches}
    for repeat, prompt in itertools.product(range(repeats), PROMPTS):
        for name, search in searches.items():
            question = f"For reader {next(numbers)}, please do this. {prompt}"
            runs[name].append(measure(policy, search, question, tokens, seed=repeat))
    return runs
