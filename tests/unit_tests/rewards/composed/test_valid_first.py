"""Valid answers rank above invalid ones; their scores stay as they are."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.rewards import as_reward
from langchain_darwin.rewards.composed.valid_first import PENALTY, ValidFirst
from langchain_darwin.testing import ScriptedPolicy

LONGEST = as_reward(lambda messages, responses: [float(len(r.text)) for r in responses], name="length")
UNIQUE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}


def answer(text, finish="stop"):
    return AIMessage(text, response_metadata={"finish_reason": finish})


def is_good(message):
    return message.text.startswith("good")


def test_invalid_answers_are_lowered_and_say_so():
    good, bad = ValidFirst.of(LONGEST, is_good).score([], [answer("good"), answer("bad answer")])
    assert (good, bad, bad.parts) == (4.0, 10 - PENALTY, {"length": 10.0, "follows schema": 0.0})


async def test_asynchronously_too():
    scores = await ValidFirst.of(LONGEST, is_good).ascore([], [answer("good"), answer("bad answer")])
    assert scores == [4.0, 10 - PENALTY]


def test_unfinished_text_is_not_checked():
    assert ValidFirst.of(LONGEST, is_good).score([], [answer("bad", finish=None)]) == [3.0]


def test_nothing_to_check_leaves_the_reward_alone():
    assert ValidFirst.of(LONGEST, None) is LONGEST


def test_what_the_reward_says_of_itself_stays():
    own = as_reward(LONGEST, partial=False, min_tokens=3, timeout=2.0, retries=1)
    found = ValidFirst.of(own, is_good)
    assert [getattr(found, name) for name in ("name", "partial", "min_tokens", "timeout", "retries")] == [
        getattr(own, name) for name in ("name", "partial", "min_tokens", "timeout", "retries")
    ]


@pytest.mark.parametrize("n", [1, 2])
def test_a_search_answers_with_the_best_valid_answer(n):
    texts = ["[1, 1, 1, 1]", "[1, 2]", "[3, 2, 1]"]
    policy = ScriptedPolicy(lambda conversation, tools: texts)
    model = ChatDarwin(model=policy, search=BestOfN(n=3), reward=LONGEST, seed=1)
    assert model.with_structured_output(UNIQUE).invoke("?") == [3, 2, 1]
    found = model.invoke("?", response_format=UNIQUE)
    assert found.response_metadata["darwin"]["reward"] == 9.0


def test_if_none_is_valid_the_best_comes_back_and_says_so():
    policy = ScriptedPolicy(lambda conversation, tools: ["[1, 1]", "[2, 2, 2]"])
    model = ChatDarwin(model=policy, search=BestOfN(n=2), reward=LONGEST, seed=1)
    found = model.invoke("?", response_format=UNIQUE)
    facts = found.response_metadata["darwin"]
    assert (found.text, facts["reward_parts"]) == ("[2, 2, 2]", {"length": 9.0, "follows schema": 0.0})
