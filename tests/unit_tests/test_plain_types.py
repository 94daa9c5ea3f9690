"""What leaves a search is made of built-in types, so that every serializer takes it, whatever a reward returns."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import numpy as np
import orjson
import pytest
import torch
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_darwin import ChatDarwin
from langchain_darwin.middleware import SearchMiddleware
from langchain_darwin.rewards import (
    Ensemble,
    LengthCorrected,
    LengthWindow,
    Lexicographic,
    LogprobFloor,
    Matches,
    Normalized,
    NotDegenerate,
    ScoreWithParts,
    Veto,
    per_response,
    trl_reward,
)
from langchain_darwin.testing import ScriptedPolicy, keyword_reward
from langchain_darwin.trace import read_trace
from tests.unit_tests.search.test_contract import MAXIMISING, OTHERS

PLAIN = (type(None), bool, int, float, str)
WORDS = [keyword_reward("sea", "sky", "old"), (0.5, LengthWindow(2, 30))]


def sizes(_messages, responses):
    return [float(len(response.text)) for response in responses]


def failing(_messages, _responses):
    raise OSError


@per_response
def one(_messages, response):
    return Fraction(len(response.text), 3)


FORMS = {
    "function": sizes,
    "numpy": lambda _, responses: np.array([len(r.text) for r in responses], dtype=np.float32),
    "numpy_scalars": lambda _, responses: [np.float64(len(r.text)) for r in responses],
    "torch": lambda _, responses: torch.tensor([len(r.text) / 3 for r in responses]),
    "booleans": lambda _, responses: ["sea" in r.text for r in responses],
    "own_parts": lambda _, responses: [ScoreWithParts(len(r.text), {"size": np.float32(1)}) for r in responses],
    "per_response": one,
    "trl": trl_reward(lambda completions, **_: [len(turns[0]["content"]) for turns in completions]),
    "list": WORDS,
    "list_in_a_list": [WORDS, sizes],
    "veto": Veto(WORDS, unless=Matches("[a-z]")),
    "lexicographic": Lexicographic(WORDS, sizes),
    "ensemble": Ensemble([sizes, WORDS]),
    "ensemble_without_a_member": Ensemble([sizes, failing, WORDS], on_error="drop"),
    "normalized": Normalized(WORDS, mean=0.0, std=2.0),
    "length_corrected": LengthCorrected(WORDS, slope=0.1),
    "logprob_floor": LogprobFloor(WORDS),
    "not_degenerate": Veto(WORDS, unless=NotDegenerate()),
}
SEARCHES = {**MAXIMISING, **OTHERS}
FEW_SEARCHES = {name: SEARCHES[name] for name in ("darwin", "look_ahead", "best_of_n", "weighted_vote")}


def not_plain(value, where="value"):
    """Places in nested data whose type is no built-in one."""
    if isinstance(value, dict) and type(value) is dict:
        keys = [f"{where}: key {key!r}" for key in value if type(key) is not str]
        return keys + [bad for key, item in value.items() for bad in not_plain(item, f"{where}[{key!r}]")]
    if type(value) in (list, tuple):
        return [bad for at, item in enumerate(value) for bad in not_plain(item, f"{where}[{at}]")]
    return [] if type(value) in PLAIN else [f"{where}: {type(value).__name__}"]


class Heard(BaseCallbackHandler):
    """Custom events and what LangChain tells of the run."""

    def __init__(self):
        self.data = []

    def on_custom_event(self, name, data, **_):
        self.data.append(data)


def facts_of(search, reward, folder):
    """Everything that a call hands out: metadata and usage of all answers, events to handlers, events, trace."""
    events, heard = [], Heard()
    model = ChatDarwin(
        model=ScriptedPolicy(length=12),
        reward=reward,
        search=search,
        seed=3,
        max_tokens=16,
        n=2,
        on_search_event=events.append,
        trace=folder / "trace.jsonl",
    )
    generations = model.generate([[HumanMessage("Write a line")]], callbacks=[heard]).generations[0]
    messages = [generation.message for generation in generations]
    return {
        "metadata": [message.response_metadata for message in messages],
        "usage": [dict(message.usage_metadata) for message in messages],
        "heard": heard.data,
        "events": [dataclasses.asdict(event) for event in events],
        "trace": [dataclasses.asdict(event) for event in read_trace(folder / "trace.jsonl")[0].events],
    }


def check(facts):
    assert not_plain(facts) == []
    kept = {name: facts[name] for name in ("metadata", "usage", "heard")}
    serializer = JsonPlusSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(kept)) == json.loads(json.dumps(kept))
    assert orjson.loads(orjson.dumps(kept)) == json.loads(json.dumps(kept))


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_every_search_hands_out_plain_values_of_a_composed_reward(search, tmp_path):
    facts = facts_of(search, WORDS, tmp_path)

    check(facts)
    found = facts["metadata"][0]["darwin"]
    assert set(found.get("reward_parts", ())) == ({"keyword_reward", "LengthWindow"} if found["reward"] else set())


@pytest.mark.parametrize("search", FEW_SEARCHES.values(), ids=FEW_SEARCHES)
@pytest.mark.parametrize("reward", FORMS.values(), ids=FORMS)
def test_every_form_of_reward_is_handed_out_as_plain_values(reward, search, tmp_path):
    check(facts_of(search, reward, tmp_path))


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_parts_stand_beside_the_reward_that_is_made_of_them(search, tmp_path):
    total = [(2.0, keyword_reward("sea")), (1.0, Matches("old"))]

    facts = facts_of(search, total, tmp_path)
    beams = [beam for event in [*facts["events"], *facts["trace"]] for beam in event.get("beams", ())]

    assert beams
    for beam in beams:
        parts = beam["parts"]
        assert beam["reward"] == (2 * parts["keyword_reward"] + parts["Matches"] if parts else None)


@pytest.mark.parametrize("reward", FORMS.values(), ids=FORMS)
def test_an_agent_with_a_checkpointer_keeps_the_facts_of_its_searches(reward):
    model = ChatDarwin(model=ScriptedPolicy(length=8), reward=reward, search=FEW_SEARCHES["best_of_n"], seed=1)
    agent = create_agent(model, [], middleware=[SearchMiddleware()], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    agent.invoke({"messages": [("user", "Write a line")]}, config)
    agent.invoke({"messages": [("user", "And another")]}, config)
    state = agent.get_state(config).values

    assert [facts["purpose"] for facts in state["darwin"]] == ["answer", "answer"]
    assert not_plain(state["darwin"]) == []
    assert [type(facts["reward"]) for facts in state["darwin"]] == [float, float]
