"""A setting without effect warns, and one with an effect does not."""

from __future__ import annotations

import itertools
import warnings

import pytest
from langchain_core.caches import InMemoryCache

from langchain_darwin import BestOfN, ChatDarwin, Darwin
from langchain_darwin.rewards import as_reward
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.majority_vote import MajorityVote
from langchain_darwin.search.soft_best_of_n import SoftBestOfN
from langchain_darwin.testing import ScriptedPolicy, keyword_reward


def chat(**fields):
    defaults = {"model": ScriptedPolicy(length=40), "reward": keyword_reward("sea"), "seed": 1, "max_tokens": 60}
    return ChatDarwin(**{**defaults, "search": BestOfN(n=2), **fields})


def lengths(messages, responses):
    return [float(len(response.text)) for response in responses]


WHOLE = as_reward(lengths, partial=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"search": BestOfN(n=4), "temperature": 0},
        {"search": BestOfN(n=4), "top_k": 1},
        {"search": SoftBestOfN(n=3), "temperature": 0.0},
        {"search": MajorityVote(n=3), "temperature": 0},
    ],
)
async def test_several_candidates_that_are_drawn_greedily(fields):
    model = chat(**fields)
    drawn = "temperature=0" if "temperature" in fields else "top_k=1"
    for answer in (lambda: model.invoke("hi"), lambda: list(model.stream("hi"))):
        with pytest.warns(UserWarning, match=f"{drawn} draws the same text for equal candidates"):
            answer()
    with pytest.warns(UserWarning, match=f"so {type(fields['search']).__name__} decodes it several times"):
        await model.ainvoke("hi")


@pytest.mark.parametrize("search", [Darwin(period=10), BlockwiseBestOfK(k=2, block=10)])
def test_a_search_over_beginnings_under_a_reward_of_whole_answers(search):
    with pytest.warns(UserWarning, match="reward 'lengths' judges finished answers only"):
        chat(search=search, reward=WHOLE, min_tokens=50).invoke("hi")


def test_more_answers_than_the_search_gives():
    with pytest.warns(UserWarning, match="n=5 answers are wanted, but the search gives 2"):
        chat(n=5).invoke("hi")


@pytest.mark.parametrize("setting", [{"strict": True}, {"parallel_tool_calls": False}])
def test_settings_of_tool_calls_without_tools(setting):
    (name,) = setting
    with pytest.warns(UserWarning, match=f"{name}=.* has no effect without tools"):
        chat().invoke("hi", **setting)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"device": "cpu"}, "device= has no effect: a policy"),
        ({"api_key": "x"}, "api_key= has no effect: a policy"),
        ({"model": "some/model", "max_retries": 3}, "max_retries= has no effect: a model that runs here"),
        ({"model": "vllm+http://host:8000/m", "dtype": "float32"}, "dtype= has no effect: a model on a server"),
    ],
)
def test_a_connection_that_the_model_does_not_have(fields, what):
    with pytest.warns(UserWarning, match=what):
        chat(**fields)


async def test_a_reward_that_the_cache_never_knows_again():
    class Counts:
        def __init__(self):
            self.calls = 0

        def __call__(self, messages, responses):
            self.calls += 1
            return [0.0] * len(responses)

    model = chat(reward=Counts(), cache=InMemoryCache())
    with pytest.warns(UserWarning, match="reward 'Counts' changes while it judges"):
        model.invoke("hi")
    with pytest.warns(UserWarning, match="reward 'Counts' changes while it judges"):
        await model.ainvoke("hi")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"search": BestOfN(n=1), "temperature": 0},
        {"search": Darwin(period=10)},
        {"search": BestOfN(n=2), "reward": WHOLE},
        {"n": 2},
        {"cache": InMemoryCache()},
        {"search": Darwin(period=10), "reward": as_reward(lengths, min_tokens=30)},
        {"model": "some/model", "device": "cpu", "dtype": "float32"},
        {"model": "vllm+http://host:8000/m", "api_key": "x", "max_retries": 2},
    ],
)
def test_settings_with_an_effect_do_not_warn(fields):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = chat(**fields)
        if "model" not in fields:
            model.invoke("hi")


def test_a_warning_comes_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        model = chat(temperature=0)
        for _ in itertools.repeat(None, 4):
            model.invoke("hi")
    assert len([each for each in caught if "draws the same text" in str(each.message)]) == 1
