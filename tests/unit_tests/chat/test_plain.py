"""What leaves the package holds built-in types only, for every search and form of reward."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
import torch
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda

from langchain_darwin import BestOfN, ChatDarwin, Darwin, MajorityVote, StopAt, per_response
from langchain_darwin.chat.plain import plain
from langchain_darwin.rewards import Ensemble, LengthWindow, as_reward
from langchain_darwin.search.args import ARGS
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.particles import Particles
from langchain_darwin.search.soft_best_of_n import SoftBestOfN
from langchain_darwin.search.speculative_rejection import SpeculativeRejection
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

BUILT_IN = {bool, int, float, str, type(None), dict, list}


def types_in(value):
    if isinstance(value, dict):
        return {type(value)}.union(*(types_in(part) for pair in value.items() for part in pair))
    if isinstance(value, list | tuple):
        return {type(value)}.union(*map(types_in, value))
    return {type(value)}


class Kind(enum.IntEnum):
    ONE = 1


class Word(str):
    __slots__ = ()

    def __str__(self):
        return "another"


@dataclass
class Point:
    x: float
    run = None


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(1), True),
        (np.arange(3), [0, 1, 2]),
        (torch.tensor([1.5]), [1.5]),
        (Kind.ONE, 1),
        (Word("word"), "word"),
        (float("nan"), None),
        (np.float64("nan"), None),
        ((1, (2,)), [1, [2]]),
        ({"a"}, ["a"]),
        (MappingProxyType({3: np.float64(1)}), {"3": 1.0}),
        ({Word("key"): 1}, {"key": 1}),
        (Point(np.float64(1)), {"type": "Point", "x": 1.0}),
        (Point, "Point"),
        (len, "len"),
        (object(), "object"),
    ],
    ids=repr,
)
def test_values_become_jsons_types(value, made):
    found = plain(value)
    assert found == made
    assert types_in(found) <= BUILT_IN
    assert types_in(found) == types_in(made)


def numpy_scores(messages, responses):
    return np.array([len(response.text) for response in responses], dtype=np.float32)


def torch_scores(messages, responses):
    return torch.tensor([float(len(response.text)) for response in responses])


def float_like(messages, responses):
    return [np.float64(len(response.text)) for response in responses]


REWARDS = [
    numpy_scores,
    torch_scores,
    float_like,
    per_response(lambda messages, response: np.float64(1)),
    [(2.0, numpy_scores), keyword_reward("sea")],
    [(np.float64(0.5), [float_like, torch_scores]), LengthWindow(2, 9)],
    Ensemble([numpy_scores, as_reward(float_like, name="other")]),
    RunnableLambda(lambda asked: np.float32(len(asked["response"].text))),
]
SEARCHES = [
    BestOfN(n=np.int64(2)),
    Darwin(period=8),
    Darwin(period=8, replacement="top_k"),
    SoftBestOfN(n=2),
    MajorityVote(n=2),
    BlockwiseBestOfK(k=2, block=8),
    Particles(n=2, period=8),
    SpeculativeRejection(n=4),
    ARGS(top_k=2),
    StopAt(np.float32(3), BestOfN(n=2)),
]


class Told(BaseCallbackHandler):
    def __init__(self):
        self.told = []

    def on_chat_model_start(self, serialized, messages, *, metadata=None, invocation_params=None, **kwargs):
        self.told += [metadata, {k: v for k, v in invocation_params.items() if k != "stop"}]

    def on_custom_event(self, name, data, **kwargs):
        self.told.append(data)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: type(reward).__name__)
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
async def test_events_and_metadata_hold_built_in_types(search, reward):
    import orjson
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    told = Told()
    limits = {"max_tokens": np.int64(16), "temperature": np.float32(1), "seed": np.int64(2)}
    model = ChatDarwin(model=ScriptedPolicy(), reward=reward, search=search, **limits)
    answer = model.invoke("hi", {"callbacks": [told]})
    awaited = await model.ainvoke("hi")
    assert awaited.response_metadata["darwin"]["reward"] == answer.response_metadata["darwin"]["reward"]
    for found in (*told.told, answer.response_metadata, awaited.response_metadata, dict(answer.usage_metadata)):
        assert types_in(found) <= BUILT_IN
        assert orjson.loads(orjson.dumps(found)) == json.loads(json.dumps(found))
    serializer = JsonPlusSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(answer)) == answer
