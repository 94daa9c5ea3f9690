"""Normalised rewards: explicit statistics, which stand during a search and run over calibrations."""

from __future__ import annotations

import statistics

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards import Normalized, as_reward

MESSAGES = [HumanMessage("Name a colour.")]


def lengths(messages, responses):
    return [len(response.text) for response in responses]


def samples(*counts):
    return [("Name a colour.", "x" * count) for count in counts]


def test_scores_are_in_standard_deviations_from_the_mean():
    reward = Normalized(lengths).calibrated(samples(1, 2, 6))

    scores = reward(MESSAGES, [AIMessage("xxx"), AIMessage("x" * 8)])

    spread = statistics.pstdev([1, 2, 6])
    assert scores == pytest.approx([0.0, 5 / spread])
    assert scores[1].parts == {"lengths": 8.0}


def test_calibrating_again_runs_on():
    first, then = [1, 2, 6, 3], [9, 4, 100]
    running = Normalized(lengths).calibrated(samples(*first)).calibrated(samples(*then))

    assert running.count == 7
    assert running.mean == pytest.approx(statistics.fmean(first + then))
    assert running.std == pytest.approx(statistics.pstdev(first + then))


def test_calibrating_leaves_the_original_as_it_was():
    reward = Normalized(lengths, mean=1, std=2)
    reward.calibrated(samples(1, 2))

    assert (reward.mean, reward.std, reward.count) == (1, 2, 0)


def test_scoring_changes_nothing():
    reward = Normalized(lengths).calibrated(samples(1, 2, 6))
    before = reward.identity()
    reward(MESSAGES, [AIMessage("x" * 1000)])

    assert reward.identity() == before


def test_samples_may_be_conversations():
    asked = []

    def watched(messages, responses):
        asked.append((messages[0].text, [response.text for response in responses]))
        return lengths(messages, responses)

    question = [HumanMessage("Why?")]
    Normalized(watched).calibrated([(question, "a"), ("What?", AIMessage("bb")), (question, "ccc")])

    assert asked == [("Why?", ["a", "ccc"]), ("What?", ["bb"])]


def test_without_statistics_it_does_not_guess():
    with pytest.raises(ConfigurationError, match=r"Normalized\(lengths\) has no statistics: call .calibrated"):
        as_reward(Normalized(lengths)).score(MESSAGES, [AIMessage("x")])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Normalized(lengths, mean=1), "give both, or neither"),
        (lambda: Normalized(lengths, mean=1, std=0), "std=0 must be above 0"),
        (
            lambda: Normalized(lengths).calibrated(samples(3, 3)),
            "gave all 2 samples 3; pass answers that it tells apart",
        ),
        (lambda: Normalized(lengths).calibrated(samples(3)), "1 samples; pass at least two"),
        (lambda: Normalized(lengths).calibrated(["ab", "abc"]), r"must be a pair \(question, answer\)"),
    ],
)
def test_what_gives_no_scale_is_refused(make, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make()
