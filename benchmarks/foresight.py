"""How much the reward of a beginning tells of the finished answer: all that a search over unfinished text has to go by.

    python benchmarks/foresight.py --data FOLDER            # the rewards of benchmarks/proof.py, on its prompts

FOLDER is that of benchmarks/proof.py. Plain answers are sampled for prompts that the proof does not take; the first t
tokens of each are judged, and correlated with the reward and with the gold of the whole answer, over the answers to
one prompt that are longer than t. The table has means over prompts with standard errors. At 0 nothing is gained by
replacing beams after t tokens; at 1 the rest of the answer does not matter. Prompts whose answers, or beginnings, all
get one score say nothing and are left out; how many are left is beside each number.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import proof_rewards
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.evaluation.datasets.ifeval import PartialScore, StrictAccuracy
from langchain_darwin.evaluation.datasets.prompts import load_prompts
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.rewards import PreferenceReward, as_reward, fit_preference_reward
from langchain_darwin.rewards.models.preference import read_pairs
from langchain_darwin.search.base import Event, Finished

AT = (8, 16, 24, 40, 80, 120)
AT_ONCE = 4  # questions; 64 rows are decoded at once


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--limit", type=int, default=24, help="prompts of each set (default: 24)")
    parser.add_argument("--skip", type=int, default=120, help="prompts to leave out before them (default: 120)")
    parser.add_argument("--samples", type=int, default=16, help="answers to each prompt (default: 16)")
    parser.add_argument("--tokens", type=int, default=192, help="longest answer (default: 192)")
    options = parser.parse_args()
    if complaint := proof_rewards.missing(options.data):
        parser.error(complaint)
    proof_rewards.fit(options.data / "hh_harmless_dev.jsonl")
    policy = TransformersPolicy(dtype="auto")
    print("| reward | of | " + " | ".join(f"{t} tokens" for t in AT) + " |\n|---|---|" + "---:|" * len(AT))
    for prompts, rewards in cases(options.data):
        questions = [prompt.turns[0] for prompt in prompts[options.skip : options.skip + options.limit]]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda question: sample(question, policy, options), questions))
        for name, reward, gold in rewards:
            report(name, questions, answers, policy.codec.decode, as_reward(reward), as_reward(gold))


def cases(data):
    """Prompts, and for each reward its name, itself and the gold."""
    alpaca = load_prompts(f"alpaca_eval={data / 'alpaca_eval_dev.jsonl'}").prompts
    ifeval = load_prompts(f"ifeval={data / 'ifeval_dev.jsonl'}").prompts
    gold = proof_rewards.gold
    mean = ("preference, mean of the answer's states", proof_rewards.guide, gold)
    return [
        (alpaca, [mean, ("preference, state at its end", at_end(data), gold)]),
        (ifeval, [("share of instructions followed", PartialScore(ifeval), StrictAccuracy(ifeval))]),
    ]


def at_end(data):
    """The guide of the proof with pooling="last"."""
    folder = proof_rewards.HEADS / "guide-last"
    if not folder.is_dir():
        fit_preference_reward(read_pairs(data / "hh_harmless_dev.jsonl")[0::2], folder=folder, pooling="last")
    return PreferenceReward.load(folder)


def report(name, questions, answers, decode, reward, gold):
    found: dict[str, list[list[float]]] = {"reward": [], "gold": []}
    for question, beams in zip(questions, answers, strict=True):
        by_reward, by_gold = foresight(question, beams, decode, reward, gold)
        found["reward"].append(by_reward)
        found["gold"].append(by_gold)
    for measure, rows in found.items():
        print(f"| {name} | {measure} | " + " | ".join(map(cell, np.array(rows).T)) + " |", flush=True)


def foresight(question, beams, decode, reward, gold):
    """Correlations at each of `AT` with the final reward and the final gold; NaN where there is none."""
    messages = [HumanMessage(question)]
    finals = [AIMessage(decode(beam.tokens), response_metadata={"finish_reason": beam.finish}) for beam in beams]
    at_end, golds = np.array(reward.score(messages, finals)), np.array(gold.score(messages, finals))
    by_reward, by_gold = [], []
    for tokens in AT:
        longer = [i for i, beam in enumerate(beams) if len(beam.tokens) > tokens]
        begun = [AIMessage(decode(beams[i].tokens[:tokens]), response_metadata={"finish_reason": None}) for i in longer]
        early = np.array(reward.score(messages, begun))
        by_reward.append(correlation(early, at_end[longer]))
        by_gold.append(correlation(early, golds[longer]))
    return by_reward, by_gold


def sample(question, policy, options):
    """Finished beams of plain sampling."""
    events: list[Event] = []
    model = ChatDarwin(
        model=policy,
        reward=lambda _, responses: [0.0] * len(responses),
        search=BestOfN(n=options.samples),
        max_tokens=options.tokens,
        seed=0,
        on_search_event=events.append,
    )
    model.invoke(question)
    [finished] = [event for event in events if isinstance(event, Finished)]
    return finished.outcome.beams


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1] if len(a) > 4 and a.std() > 0 and b.std() > 0 else np.nan


def cell(values):
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return "-"
    return f"{known.mean():.2f} ± {known.std(ddof=1) / np.sqrt(len(known)):.2f} ({len(known)})"


if __name__ == "__main__":
    main()
