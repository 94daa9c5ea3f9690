"""What each search costs next to Best-of-N: policy tokens, texts judged, time. Prints tables for docs/searches.md.

    python benchmarks/searches.py                 # the embedded model, a few minutes on an idle machine
    python benchmarks/searches.py --tokens 64 --repeats 1
    python benchmarks/searches.py --args          # what a token of ARGS costs under a reward model

All answers have the same forced length and every search five texts (or candidates) at a time, so the figures
depend on the searches and the machine alone. The reward is a rule, and next to free.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace

from workload import PROMPTS, measure_all, variety

from langchain_darwin import ChatDarwin
from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.rewards import RewardModel
from langchain_darwin.search import (
    ARGS,
    BestOfN,
    BlockwiseBestOfK,
    Darwin,
    MajorityVote,
    Particles,
    SoftBestOfN,
    SpeculativeRejection,
    StopAt,
)

SEARCHES = {
    "BestOfN(n=5)": BestOfN(n=5),
    "SoftBestOfN(n=5)": SoftBestOfN(n=5),
    "MajorityVote(n=5)": MajorityVote(n=5),
    "SpeculativeRejection(n=5)": SpeculativeRejection(n=5),
    "SpeculativeRejection(n=16)": SpeculativeRejection(n=16),
    "BlockwiseBestOfK(k=5)": BlockwiseBestOfK(k=5),
    "BlockwiseBestOfK(k=5, decay=0.7)": BlockwiseBestOfK(k=5, decay=0.7),
    "Particles(n=5, temperature=0.1)": Particles(n=5, temperature=0.1),
    "Darwin()": Darwin(),
    'Darwin(mutation="append")': Darwin(mutation="append"),
    'Darwin(mutation="each")': Darwin(mutation="each"),
    'Darwin(mutation="each", replacement="none")': Darwin(mutation="each", replacement="none"),
    "Darwin(look_ahead=25)": Darwin(look_ahead=25),
    "Darwin.paper(), one cycle": replace(Darwin.paper(), cycles=1),
    "Darwin.paper()": Darwin.paper(),
    "ARGS(top_k=5)": ARGS(top_k=5),
    "ARGS(top_k=10)": ARGS(top_k=10),
    "StopAt(0.55, BestOfN(n=5, batch=1))": StopAt(0.55, BestOfN(n=5, batch=1)),
}


class Variety:
    """`variety`, counting how often it is asked."""

    name = "variety"

    def __init__(self):
        self.calls = 0

    def __call__(self, messages, responses):
        self.calls += 1
        return variety(messages, responses)

    def identity(self):
        return {"reward": self.name}


@dataclass(frozen=True)
class Cost:
    """One run."""

    decoded: int
    prefilled: int
    judged: int
    looks: int
    seconds: float
    reward: float


def measure(policy, search, prompt, tokens, seed):
    """One answer of `tokens` tokens."""
    reward = Variety()
    model = ChatDarwin(model=policy, reward=reward, search=search, min_tokens=tokens, max_tokens=tokens, seed=seed)
    started = time.perf_counter()
    facts = model.invoke(prompt).response_metadata["darwin"]
    seconds = time.perf_counter() - started
    used = facts["tokens"]
    return Cost(used["decoded"], used["prefilled"], facts["judged"], reward.calls, seconds, facts["reward"] or 0.0)


def print_costs(costs, tokens):
    base = {name: mean(costs["BestOfN(n=5)"], name) for name in ("decoded", "seconds")}
    print(f"Answers of {tokens} tokens, {len(costs['BestOfN(n=5)'])} runs each.\n")
    print("| search | tokens decoded | to Best-of-5 | prefilled | texts judged | looks | seconds | to Best-of-5 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, runs in costs.items():
        decoded, seconds = mean(runs, "decoded"), mean(runs, "seconds")
        figures = (
            f"{decoded:.0f}",
            f"{decoded / base['decoded']:.2f}",
            f"{mean(runs, 'prefilled'):.0f}",
            f"{mean(runs, 'judged'):.0f}",
            f"{mean(runs, 'looks'):.0f}",
            f"{seconds:.1f}",
            f"{seconds / base['seconds']:.2f}",
        )
        print(f"| `{name}` | {' | '.join(figures)} |")


def mean(runs, name):
    """Median for seconds, since a busy machine errs on one side only."""
    values = [getattr(run, name) for run in runs]
    return statistics.median(values) if name == "seconds" else statistics.fmean(values)


def print_args(policy, tokens, k=10):
    """A token of ARGS under a reward model, and reading all its candidates one by one instead."""
    with tempfile.TemporaryDirectory() as folder:
        reward = untrained_reward(policy, folder)
        model = ChatDarwin(
            model=policy, reward=reward, search=ARGS(top_k=k), min_tokens=tokens, max_tokens=tokens, seed=0
        )
        model.invoke(PROMPTS[0], max_tokens=8, min_tokens=8)  # loads both models
        started = time.perf_counter()
        answer = model.invoke(PROMPTS[0])
        ours = (time.perf_counter() - started) / tokens
        half = " ".join(answer.text.split()[: len(answer.text.split()) // 2])  # of average length
        one_by_one = k * reading_seconds(policy, half)
    print(f"ARGS(top_k={k}) over {tokens} tokens: {ours * 1000:.0f} ms a token.")
    print(f"{k} forward passes of the reward model: {one_by_one * 1000:.0f} ms, {one_by_one / ours:.1f} times that.")


def untrained_reward(policy, folder):
    """A reward model of the policy's own size; its numbers mean nothing."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = resolve_model(policy.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return RewardModel(folder)


def reading_seconds(policy, answer, repeats=5):
    """Median time of reading one answer from the beginning, with a model of the policy's size."""
    import torch

    from langchain_darwin.inference.loading import load_model

    prompt = policy.codec.encode_chat([{"role": "user", "content": PROMPTS[0]}])
    model = load_model(resolve_model(policy.model)).model
    ids = torch.tensor([(*prompt, *policy.codec.encode_text(answer))], device=model.device)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            model.base_model(input_ids=ids, use_cache=False)
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    parser.add_argument("--tokens", type=int, default=128, help="length of every answer")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each prompt, each with another seed")
    parser.add_argument("--args", action="store_true", help="measure a token of ARGS instead")
    options = parser.parse_args()
    policy = TransformersPolicy(options.model)
    if options.args:
        print_args(policy, options.tokens)
    else:
        print_costs(measure_all(measure, policy, SEARCHES, options.tokens, options.repeats), options.tokens)


if __name__ == "__main__":
    main()
