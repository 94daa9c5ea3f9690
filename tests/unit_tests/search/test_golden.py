"""Golden traces: whole runs on the scripted policy, round by round.

After a change that is meant to change them, write them anew and read the difference:

    UPDATE_GOLDEN=1 pytest tests/unit_tests/search/test_golden.py && git diff tests/unit_tests/search/golden
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.rewards import as_reward
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
from langchain_darwin.search.base import Finished, Grown, Scored, Started
from langchain_darwin.search.driver.runner import Runner
from langchain_darwin.testing import ScriptedPolicy, keyword_reward
from tests.unit_tests.search.driving import INSTRUCTION, rewriter, task

GOLDEN = Path(__file__).with_name("golden")
SEARCHES = {
    "darwin": Darwin(),
    "append": Darwin(mutation="append"),
    "top_k": Darwin(mutation="each", replacement="top_k", period=40),
    "paper": Darwin.paper(),
    "resample": Darwin(mutation="none", replacement="resample", period=40),
    "mutation_only": Darwin(mutation="list", replacement="none", cycles=2),
    "look_ahead": replace(Darwin.paper(), cycles=1, per_instruction=2, look_ahead=10),
    "best_of_n": BestOfN(),
    "soft_best_of_n": SoftBestOfN(),
    "majority_vote": MajorityVote(),
    "weighted_vote": MajorityVote(weighted=True),
    "speculative_rejection": SpeculativeRejection(n=8, first=16),
    "blockwise": BlockwiseBestOfK(block=20, decay=0.6),
    "particles": Particles(),
    "args": ARGS(top_k=4),
    "args_stochastic": ARGS(top_k=3, temperature=0.7, n=2),
    "stop_at": StopAt(8.5, Particles(n=3), first=BestOfN(n=2)),
}
TOKENS = {"args": 12, "args_stochastic": 8}  # the others have answers of up to 160


def records(search, max_tokens=160):
    job = task(max_tokens=max_tokens)
    policy = ScriptedPolicy(rewriter, length=100)
    reward = as_reward(keyword_reward("sea", "river"))
    run = Runner(search, job, policy, reward, [HumanMessage(INSTRUCTION)], lambda beam: AIMessage(job.text(beam)))
    return [{"event": type(event).__name__} | facts(event, job) for event in run.run()]


def facts(event, job):
    """An event in few words; of a beam, the last words stand for its text."""
    if isinstance(event, Started):
        return {"search": dict(event.search), "instruction": event.instruction}
    if isinstance(event, Grown):
        return {"last_roots": event.last_roots, "beams": [grown(beam, job) for beam in event.beams]}
    if isinstance(event, Scored):
        return {"rewards": {named(beam, event, job): beam.reward for beam in event.beams}, "judged": event.judged}
    if isinstance(event, Finished):
        best = event.outcome.best
        return {"best": best.id, "reward": best.reward, "instruction": best.instruction, "text": job.text(best)}
    return asdict(event)


def named(beam, event, job):
    """A beam by its id, and by its last word if there are several candidates for that."""
    alone = sum(other.id == beam.id for other in event.beams) == 1
    return str(beam.id) if alone else f"{beam.id}: {job.text(replace(beam, tokens=beam.tokens[-1:])) or 'end'}"


def grown(beam, job):
    end = " ".join(job.text(beam).split()[-4:])
    about = {"id": beam.id, "tokens": len(beam.tokens), "finish": beam.finish, "end": end}
    return about if beam.aside else about | {"instruction": beam.instruction}


@pytest.mark.parametrize("name", SEARCHES)
def test_golden(name):
    path = GOLDEN / f"{name}.json"
    lines = [json.dumps(record) for record in records(SEARCHES[name], TOKENS.get(name, 160))]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    assert [json.loads(line) for line in lines] == json.loads(path.read_text())
