"""Weighted sums: numbers, parts, names, and what the sum takes over from its parts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import ConfigurableField

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards import Matches, WeightedSum, as_reward, is_unfinished
from langchain_darwin.testing import ScriptedPolicy

MESSAGES = [HumanMessage("Name a colour.")]
RESPONSES = [AIMessage("Red."), AIMessage("Ultramarine.")]


def lengths(messages: list[Any], responses: list[AIMessage]) -> list[int]:
    return [len(response.text) for response in responses]


async def ones(messages: list[Any], responses: list[AIMessage]) -> list[float]:
    return [1.0] * len(responses)


def test_scores_are_weighted_sums_that_show_their_parts() -> None:
    reward = as_reward([lengths, (-2, ones)])

    scores = reward.score(MESSAGES, RESPONSES)

    assert scores == asyncio.run(reward.ascore(MESSAGES, RESPONSES)) == [2.0, 10.0]
    assert [score.parts for score in scores] == [{"lengths": 4.0, "ones": 1.0}, {"lengths": 12.0, "ones": 1.0}]


def test_sums_of_sums_work() -> None:
    assert as_reward([(0.5, [lengths, ones]), ones]).score(MESSAGES, RESPONSES) == [3.5, 7.5]


def test_a_sum_is_named_after_its_parts_and_equal_names_are_numbered() -> None:
    total = WeightedSum([Matches("a"), (2, Matches("b")), (0.5, as_reward(lengths, name="size"))])

    assert as_reward(total).name == "Matches + 2 Matches 2 + 0.5 size"
    assert [reward.name for _, reward in total.parts] == ["Matches", "Matches 2", "size"]


def test_a_sum_judges_what_all_its_parts_may_judge() -> None:
    early, late = as_reward(lengths, min_tokens=8), as_reward(lengths, min_tokens=40)
    finished_only = as_reward(lengths, partial=False)

    both, never = as_reward([early, late]), as_reward([early, finished_only])

    assert (both.partial, both.min_tokens) == (True, 40)
    assert never.partial is False


def test_the_failure_of_a_part_names_the_part() -> None:
    def broken(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        raise OSError("no route")

    reward = as_reward([lengths, broken])

    with pytest.raises(RewardError, match=r"^reward 'broken' raised OSError: no route") as caught:
        asyncio.run(reward.ascore(MESSAGES, RESPONSES))
    assert caught.value.reward == "broken"
    with pytest.raises(RewardError, match=r"^reward 'broken' raised OSError: no route"):
        reward.score(MESSAGES, RESPONSES)


def test_parts_are_asked_side_by_side_in_async_searches() -> None:
    async def main() -> list[float]:
        both = asyncio.Barrier(2)

        async def wait(messages: list[Any], responses: list[AIMessage]) -> list[float]:
            await both.wait()
            return [1.0] * len(responses)

        return await as_reward([wait, wait]).ascore(MESSAGES, RESPONSES, timeout=20)

    assert asyncio.run(main()) == [2.0, 2.0]


def test_unfinished_responses_reach_the_parts_as_such() -> None:
    def live(messages: list[Any], responses: list[AIMessage]) -> list[bool]:
        return [is_unfinished(response) for response in responses]

    growing = AIMessage("Ultra", response_metadata={"finish_reason": None})

    assert as_reward([(3, live)]).score(MESSAGES, [growing, *RESPONSES]) == [3.0, 0.0, 0.0]


def test_weights_change_for_one_call() -> None:
    total = WeightedSum([lengths, (-2, ones)])
    other = total.with_weights({"ones": 3})

    assert as_reward(other).score(MESSAGES, RESPONSES) == [7.0, 15.0]
    assert as_reward(total).score(MESSAGES, RESPONSES) == [2.0, 10.0]
    assert as_reward(other).identity() != as_reward(total).identity()
    with pytest.raises(ConfigurationError, match="the sum has no part 'length'; it has lengths, ones"):
        total.with_weights({"length": 1})


def test_weights_come_with_the_call_or_the_config() -> None:
    total = WeightedSum([(1, lengths), (0, Matches("sea"))])
    model = ChatDarwin(model=ScriptedPolicy(), reward=total, search=BestOfN(n=2), seed=1)
    other = total.with_weights({"lengths": 0, "Matches": -5})
    configurable = model.configurable_fields(reward=ConfigurableField(id="reward"))

    answers = [
        model.invoke("Hello"),
        model.bind(reward=other).invoke("Hello"),
        configurable.invoke("Hello", config={"configurable": {"reward": other}}),
    ]

    rewards = [answer.response_metadata["darwin"]["reward"] for answer in answers]
    assert rewards[0] > 0
    assert rewards[1] == rewards[2]
    assert rewards[1] in (0.0, -5.0)
