"""Best-of-N fed by hand."""

from __future__ import annotations

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Grow, Score
from langchain_darwin.search.best_of_n import BestOfN
from tests.unit_tests.search.driving import drive, of, task


def test_the_highest_reward_wins_and_the_others_follow():
    _, found = drive(BestOfN(n=4), task(), lambda beam: {0: 1.0, 1: 3.0, 2: 2.0}.get(beam.id, 0.0))
    assert [beam.id for beam in found.beams] == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("search", "sizes", "last_roots"),
    [
        (BestOfN(n=5), [5], [True]),
        (BestOfN(n=5, batch=2), [2, 2, 1], [False, False, True]),
        (BestOfN(n=4, batch=2), [2, 2], [False, True]),
        (BestOfN(n=2, batch=9), [2], [True]),
    ],
)
def test_batches_go_one_after_the_other(search, sizes, last_roots):
    steps, found = drive(search, task(), lambda beam: float(beam.id))
    assert [len(step.beams) for step in of(Grow, steps)] == sizes
    assert [step.last_roots for step in of(Grow, steps)] == last_roots
    assert [len(step.beams) for step in of(Score, steps)] == sizes
    assert [beam.id for beam in found.beams] == list(range(search.n))[::-1]


def test_batches_change_no_answer():
    def reward(beam):
        return float(len(beam.tokens))

    _, whole = drive(BestOfN(n=6), task(), reward)
    _, parts = drive(BestOfN(n=6, batch=2), task(), reward)
    assert parts == whole


@pytest.mark.parametrize("fields", [{"n": 0}, {"batch": 0}])
def test_impossible_numbers_are_refused(fields):
    with pytest.raises(ConfigurationError, match="=0 must be at least 1"):
        BestOfN(**fields)
