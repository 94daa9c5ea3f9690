"""Speculative rejection fed by hand."""

from __future__ import annotations

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Grow, Remark
from langchain_darwin.search.speculative_rejection import SpeculativeRejection
from langchain_darwin.search.steps import UNJUDGED
from tests.unit_tests.search.driving import drive, ending_at, of, task


def by_id(beam):
    return float(beam.id)


def grown(steps):
    return [[beam.id for beam in step.beams] for step in of(Grow, steps)]


def test_the_lower_half_goes_at_each_checkpoint():
    steps, found = drive(SpeculativeRejection(n=8, first=10), task(), by_id, grow=ending_at({}, default=100))
    assert grown(steps) == [list(range(8)), [4, 5, 6, 7], [6, 7], [7]]
    assert [beam.id for beam in found.beams] == [7]
    assert of(Remark, steps)[0] == Remark("Rejected 4 of 8 at 10 tokens.")


def test_the_batch_never_holds_more_tokens_than_at_the_first_checkpoint():
    steps, _ = drive(SpeculativeRejection(n=8, first=10), task(), by_id, grow=ending_at({}, default=500))
    reached, held = 0, []
    for step in of(Grow, steps)[:-1]:
        reached += step.tokens
        held.append(reached * len(step.beams))
    assert held == [80, 80, 80]
    assert of(Grow, steps)[-1].tokens is None


@pytest.mark.parametrize(("alpha", "kept"), [(0.5, [5, 3, 2, 1]), (0.2, [5, 4]), (0.9, [5, 1]), (0.0, [5])])
def test_the_share_given_up_is_rounded_down(alpha, kept):
    search = SpeculativeRejection(n=5, alpha=alpha, first=4)
    steps, _ = drive(search, task(), by_id, grow=ending_at({}, default=40))
    assert [len(beams) for beams in grown(steps)][: len(kept)] == kept


def test_a_small_share_still_comes_to_an_end():
    steps, found = drive(
        SpeculativeRejection(n=101, alpha=0.01, first=3), task(), by_id, grow=ending_at({}, default=30)
    )
    assert [step.tokens for step in of(Grow, steps)] == [3, 1, None]
    assert len(found.beams) == 99


def test_finished_answers_are_never_rejected():
    steps, found = drive(
        SpeculativeRejection(n=6, first=10),
        task(),
        lambda beam: 9.0 if beam.id == 1 else float(beam.id) - 5,
        grow=ending_at({0: 3, 1: 8}, default=30),
    )
    assert grown(steps) == [[0, 1, 2, 3, 4, 5], [4, 5], [5]]
    assert [beam.id for beam in found.beams] == [1, 5, 0]


def test_a_reward_that_is_silent_on_beginnings_makes_it_best_of_n():
    def whole(beam):
        return None if beam.live else by_id(beam)

    steps, found = drive(SpeculativeRejection(n=4, first=5), task(), whole, grow=ending_at({}, default=30))
    assert {beam.id for beam in found.beams} == {0, 1, 2, 3}
    assert of(Remark, steps) == [UNJUDGED]


@pytest.mark.parametrize("fields", [{"n": 0}, {"alpha": -0.1}, {"alpha": 1.0}, {"first": 0}])
def test_impossible_values_are_refused(fields):
    with pytest.raises(ConfigurationError, match="must be"):
        SpeculativeRejection(**fields)
