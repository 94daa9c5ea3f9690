"""Hard constraints and lexicographic order."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards import Complete, Lexicographic, Matches, Veto, as_reward

MESSAGES = [HumanMessage("Name a colour.")]


def answer(text, finish="stop", **facts):
    return AIMessage(text, response_metadata={"finish_reason": finish, "tokens": len(text), **facts})


def numbers(messages, responses):
    return [float(response.text.split()[0]) for response in responses]


def seconds(messages, responses):
    return [float(response.text.split()[1]) for response in responses]


def both_ways(judge, responses):
    reward = as_reward(judge)
    scores = reward.score(MESSAGES, responses)
    assert asyncio.run(reward.ascore(MESSAGES, responses)) == scores
    return scores


def test_what_breaks_a_constraint_is_below_all_that_complies():
    veto = Veto(numbers, unless=[Matches("please"), Matches("thanks")])
    responses = [answer("5 please thanks"), answer("-1e9 please thanks"), answer("9"), answer("900 please")]

    assert both_ways(veto, responses) == [5.0, -1000.0, -1002.0, -1001.0]


def test_the_reward_is_not_asked_about_what_is_ruled_out():
    asked = []

    def watched(messages, responses):
        asked.extend(response.text for response in responses)
        return [0.0] * len(responses)

    Veto(watched, unless=Matches("please"))(MESSAGES, [answer("no"), answer("please")])

    assert asked == ["please"]


def test_scores_show_the_constraints():
    scores = Veto(numbers, unless=Matches("please"))(MESSAGES, [answer("5 please"), answer("9")])

    assert [score.parts for score in scores] == [{"numbers": 5.0, "Matches": 1.0}, {"Matches": 0.0}]


def test_a_constraint_on_finished_text_waits_for_the_end():
    veto = Veto(numbers, unless=[Complete(), as_reward(Matches("please"), min_tokens=5)])
    responses = [answer("5", None), answer("7 long", None), answer("5", "length"), answer("5 please")]

    assert as_reward(veto).partial is True
    assert both_ways(veto, responses) == [5.0, -1001.0, -1002.0, 5.0]


def test_booleans_and_thresholds():
    def short(messages, responses):
        return [len(response.text) < 4 for response in responses]

    assert Veto(numbers, unless=short)(MESSAGES, [answer("1"), answer("12345")]) == [1.0, -1001.0]
    assert Veto(numbers, unless=numbers, threshold=3, floor=-5)(MESSAGES, [answer("3"), answer("2")]) == [3.0, -6.0]


def test_the_policy_reaches_the_parts_of_a_veto():
    class Bound:
        name = "bound"

        def __init__(self, policy=None):
            self.policy = policy

        def bind(self, policy):
            return Bound(policy)

        def __call__(self, messages, responses):
            return [self.policy] * len(responses)

    assert as_reward(Veto(Bound(), unless=Bound())).bind(7).score(MESSAGES, [answer("x")]) == [7.0]


def test_the_first_reward_decides_and_the_second_where_it_is_level():
    order = Lexicographic(numbers, seconds, tolerance=1, bounds=(-10, 10))
    ranked = ["-20 0", "-10 5", "0 -20", "0 -3", "0.4 1", "0 1.5", "0.6 -9", "5 9", "11 9", "10 9.5"]

    scores = both_ways(order, [answer(text) for text in ranked])

    # -20 is cut to -10; 0.4 is level with 0; 0.6 counts as 1; 11 as 10
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)
    assert scores[0] >= 0
    assert scores[-1] < 21


def test_the_order_holds_for_any_numbers_and_any_batch():
    order = Lexicographic(numbers, seconds, thirds, tolerance=(0.5, 0.25), bounds=[(0, 5), (-1, 1), (0, 1)])
    rng = random.Random(0)
    rows = [(rng.randrange(11) / 2, rng.randrange(-4, 5) / 4, rng.random()) for _ in range(200)]
    scores = [order(MESSAGES, [answer(" ".join(map(str, row)))])[0] for row in rows]

    for (row, score), (other, other_score) in itertools.combinations(zip(rows, scores, strict=True), 2):
        assert (row < other) == (score < other_score)


def thirds(messages, responses):
    return [float(response.text.split()[2]) for response in responses]


@pytest.mark.parametrize(
    ("rewards", "settings", "complaint"),
    [
        ([numbers], {}, "Lexicographic of 1 rewards; pass at least two"),
        ([numbers, seconds], {"tolerance": 0}, "tolerance=0 must be above 0"),
        ([numbers, seconds], {"tolerance": [1, 1]}, "has 2 entries; it takes one, or 1"),
        ([numbers, seconds], {"bounds": (1, 1)}, "bounds=0 must be above 0"),
        ([numbers, seconds, thirds], {"tolerance": 1e-5}, "levels, more than 2\\^40; raise tolerance or narrow bounds"),
    ],
)
def test_settings_of_an_order_are_checked(rewards, settings, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        Lexicographic(*rewards, **settings)


def test_a_veto_without_constraints_is_refused():
    with pytest.raises(ConfigurationError, match=r"unless=\[\] holds no constraint"):
        Veto(numbers, unless=[])
