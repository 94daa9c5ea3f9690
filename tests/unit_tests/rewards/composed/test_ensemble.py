"""Ensembles: the lower confidence bound, and what becomes of members that fail."""

from __future__ import annotations

import asyncio
import logging
import math
import statistics

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards import Ensemble, Normalized, as_reward
from langchain_darwin.testing import ScriptedPolicy

MESSAGES = [HumanMessage("Name a colour.")]
RESPONSES = [AIMessage("Red."), AIMessage("Ultramarine.")]
LENGTHS = [4, 12]


def lengths(messages, responses):
    return [len(response.text) for response in responses]


def halves(messages, responses):
    return [len(response.text) / 2 for response in responses]


def broken(messages, responses):
    raise OSError("no route")


def test_the_score_is_the_mean_less_the_spread():
    scores = Ensemble([lengths, halves], pessimism=2)(MESSAGES, RESPONSES)

    assert scores == [n * 0.75 - 2 * statistics.pstdev([n, n / 2]) for n in LENGTHS]
    assert scores[0].parts == {"lengths": 4.0, "halves": 2.0}
    assert Ensemble([lengths, halves], pessimism=0)(MESSAGES, RESPONSES) == [3.0, 9.0]


def test_a_failing_member_is_an_error_that_names_it():
    reward = as_reward(Ensemble([lengths, broken, halves]))

    for ask in (lambda: reward.score(MESSAGES, RESPONSES), lambda: asyncio.run(reward.ascore(MESSAGES, RESPONSES))):
        with pytest.raises(RewardError, match="reward 'broken' raised OSError: no route") as caught:
            ask()
        assert caught.value.reward == "broken"


def test_told_to_it_goes_on_without_a_failing_member_and_says_so(caplog):
    reward = as_reward(Ensemble([lengths, broken, halves], pessimism=0, on_error="drop"))

    for ask in (lambda: reward.score(MESSAGES, RESPONSES), lambda: asyncio.run(reward.ascore(MESSAGES, RESPONSES))):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "langchain_darwin"):
            scores = ask()
        assert scores == [3.0, 9.0]
        assert "goes on without 'broken' for 2 texts: reward 'broken' raised OSError: no route" in caplog.text
        assert math.isnan(scores[0].parts["broken"])


def test_with_no_member_left_it_fails():
    reward = as_reward(Ensemble([broken, as_reward(broken, name="other")], on_error="drop"))

    with pytest.raises(RewardError, match="reward 'ensemble' has no member left: all failed"):
        reward.score(MESSAGES, RESPONSES)


def test_a_member_that_hangs_is_dropped_too():
    async def hang(messages, responses):
        await asyncio.sleep(60)

    reward = as_reward(Ensemble([lengths, halves, as_reward(hang, timeout=0.05)], pessimism=0, on_error="drop"))

    assert reward.score(MESSAGES, RESPONSES) == [3.0, 9.0]


def test_members_of_different_scales_are_made_alike():
    samples = [("q", "a"), ("q", "aaa"), ("q", "aaaaa")]
    alike = Ensemble([lengths, lambda m, r: [1000 + 100 * len(x.text) for x in r]]).calibrated(samples)

    assert all(isinstance(member.judge, Normalized) for member in alike.rewards)
    first, second = alike(MESSAGES, RESPONSES)[1].parts.values()
    assert first == pytest.approx(second)


def test_a_search_goes_on_with_the_rest():
    reward = Ensemble([lengths, broken, halves], on_error="drop")
    model = ChatDarwin(model=ScriptedPolicy(), reward=reward, search=BestOfN(n=3), seed=1)

    assert model.invoke("Name a colour.").response_metadata["darwin"]["judged"] == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (([lengths],), "Ensemble of 1 rewards; pass at least two"),
        (([lengths, halves], -1), "pessimism=-1"),
        (([lengths, halves], 1, "ignore"), "on_error='ignore' must be 'raise' or 'drop'"),
    ],
)
def test_its_settings_are_checked(arguments, complaint):
    members, *rest = arguments
    with pytest.raises(ConfigurationError, match=complaint):
        Ensemble(members, **dict(zip(("pessimism", "on_error"), rest, strict=False)))
