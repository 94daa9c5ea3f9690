"""TRL's reward functions are called as TRL calls them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards import Veto, trl_reward
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

MESSAGES = [SystemMessage("Be brief."), HumanMessage("Name a colour.")]
RESPONSES = [
    AIMessage("Red.", response_metadata={"token_ids": [7, 2]}),
    AIMessage("", response_metadata={"token_ids": [4, 5, 6, 2]}),
]


def lengths(completion_ids, **kwargs):
    """As TRL's get_soft_overlong_punishment reads them."""
    return [-float(len(ids)) for ids in completion_ids]


async def async_lengths(completion_ids, **kwargs):
    return lengths(completion_ids)


def by_name(prompts, completions, completion_ids):
    return lengths(completion_ids)


@pytest.mark.parametrize("function", [lengths, async_lengths, by_name], ids=lambda function: function.__name__)
def test_completion_ids_are_those_of_the_policy(function):
    reward = trl_reward(function)

    assert reward.token_ids
    assert reward.score(MESSAGES, RESPONSES) == [-2.0, -4.0]
    assert asyncio.run(reward.ascore(MESSAGES, RESPONSES)) == [-2.0, -4.0]


@pytest.mark.parametrize(
    "compose",
    [
        trl_reward,
        lambda function: [trl_reward(function), keyword_reward("sea")],
        lambda function: Veto(keyword_reward("sea"), unless=trl_reward(function), threshold=-100.0),
    ],
    ids=["alone", "list", "veto"],
)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_search_passes_the_ids_that_it_decoded(compose, way):
    seen, policy = [], ScriptedPolicy(length=8)

    def overlong(completion_ids, completions, **kwargs):
        seen.extend(zip(completion_ids, completions, strict=True))
        return [0.0] * len(completion_ids)

    model = ChatDarwin(model=policy, reward=compose(overlong), search=BestOfN(n=3), seed=1, max_tokens=12)
    asyncio.run(model.ainvoke("Hello")) if way == "ainvoke" else model.invoke("Hello")

    assert len(seen) == 3
    for ids, [turn] in seen:
        assert all(type(token) is int for token in ids)
        assert policy.codec.decode(ids) == turn["content"]


def test_rewards_that_read_no_ids_get_none():
    seen = []

    def plain(messages, responses):
        seen.extend(response.response_metadata for response in responses)
        return [0.0] * len(responses)

    ChatDarwin(model=ScriptedPolicy(length=8), reward=plain, search=BestOfN(n=2), seed=1, max_tokens=12).invoke("Hello")

    assert {key for facts in seen for key in facts} == {"finish_reason", "tokens", "logprob"}


def test_ids_that_are_missing_are_named_if_they_are_needed():
    def if_there(completions, **kwargs):
        return [float("completion_ids" in kwargs)] * len(completions)

    without = [AIMessage("Red."), AIMessage("Blue.")]

    assert trl_reward(if_there).score(MESSAGES, without) == [0.0, 0.0]
    with pytest.raises(ConfigurationError, match=r"reward 'by_name' reads completion_ids.*response_metadata\["):
        trl_reward(by_name).score(MESSAGES, without)


def test_plain_texts_for_functions_of_texts():
    seen = {}

    def of_texts(prompts, completions, answer):
        seen.update(prompts=prompts, completions=completions, answer=answer)
        return [float(completion.startswith(right)) for completion, right in zip(completions, answer, strict=True)]

    reward = trl_reward(of_texts, conversational=False, answer="Red")

    assert reward.score([HumanMessage("Name a colour.")], RESPONSES) == [1.0, 0.0]
    assert seen == {"prompts": ["Name a colour."] * 2, "completions": ["Red.", ""], "answer": ["Red", "Red"]}
    assert reward.score(MESSAGES, RESPONSES) == [1.0, 0.0]
    assert seen["prompts"] == ["System: Be brief.\n\nUser: Name a colour."] * 2
    assert reward.identity() != trl_reward(of_texts, answer="Red").identity()


def test_what_the_trainer_passes_besides_is_passed_to_functions_that_name_it():
    seen = {}

    def logging(completions, trainer_state, log_extra, log_metric=None, **kwargs):
        log_extra("colour", ["red", "blue"])
        log_metric("accuracy", 0.5)
        seen.update(kwargs, step=trainer_state.global_step)
        return [1.0] * len(completions)

    assert trl_reward(logging).score(MESSAGES, RESPONSES) == [1.0, 1.0]
    assert seen.keys() == {"prompts", "completion_ids", "step"}
    assert seen["step"] == 0


@pytest.mark.parametrize(
    "answer",
    [[None, 2.0], (None, 2.0), np.array([None, 2.0]), iter([None, 2.0])],
    ids=lambda answer: type(answer).__name__,
)
def test_not_applicable_counts_as_nothing(answer):
    assert trl_reward(lambda completions, **_: answer).score(MESSAGES, RESPONSES) == [0.0, 2.0]


def test_other_shapes_and_failures_name_the_function():
    def odd(completions, **_):
        return {"scores": [1.0] * len(completions)}

    def stopped(completions, **_):
        return [next(iter(())) for _ in completions]

    with pytest.raises(RewardError, match=r"reward 'odd' returned \{'scores'"):
        trl_reward(odd).score(MESSAGES, RESPONSES)
    with pytest.raises(RewardError, match="reward 'stopped' raised StopIteration"):
        asyncio.run(trl_reward(stopped).ascore(MESSAGES, RESPONSES))
