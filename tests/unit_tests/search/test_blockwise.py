"""Blockwise best-of-K fed by hand."""

from __future__ import annotations

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Grow, Remark, Replaced
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.steps import UNJUDGED
from tests.unit_tests.search.driving import drive, ending_at, of, task


def by_id(beam):
    return float(beam.id)


def test_the_best_block_branches():
    steps, found = drive(BlockwiseBestOfK(k=3, block=5), task(), by_id, grow=ending_at({}, default=12))
    rounds = [[(beam.id, beam.parent) for beam in step.beams] for step in of(Grow, steps)]
    assert rounds == [
        [(0, None), (1, None), (2, None)],
        [(2, None), (3, 2), (4, 2)],
        [(4, 2), (5, 4), (6, 4)],
    ]
    assert of(Replaced, steps)[:2] == [Replaced(1, 2, 3, 2.0), Replaced(0, 2, 4, 2.0)]
    assert [beam.id for beam in found.beams] == [6, 5, 4]


def test_a_finished_block_waits_in_the_pool_while_the_best_unfinished_one_goes_on():
    reward = {0: 5.0, 1: 9.0, 2: 1.0}
    steps, found = drive(
        BlockwiseBestOfK(k=3, block=5), task(), lambda beam: reward.get(beam.id, 2.0), grow=ending_at({1: 4}, default=8)
    )
    assert {beam.parent for beam in of(Grow, steps)[1].beams} == {None, 0}
    assert len(of(Grow, steps)[1].beams) == 3
    assert found.best.id == 1


def test_decay_spends_more_early_and_less_late():
    search = BlockwiseBestOfK(k=8, block=4, decay=0.5)
    steps, _ = drive(search, task(), by_id, grow=ending_at({}, default=40))
    assert [len(step.beams) for step in of(Grow, steps)] == [8, 4, 2, 1]
    assert [step.tokens for step in of(Grow, steps)] == [4, 4, 4, None]
    assert [search.width(b) for b in (0, 1, 50)] == [8, 4, 1]


def test_one_continuation_is_a_plain_answer():
    steps, found = drive(BlockwiseBestOfK(k=1), task(), by_id)
    assert [step.tokens for step in of(Grow, steps)] == [None]
    assert found.best.complete


def test_one_block_is_best_of_k():
    steps, found = drive(BlockwiseBestOfK(k=4, block=60), task(), by_id, grow=ending_at({}, default=30))
    assert len(of(Grow, steps)) == 1
    assert [beam.id for beam in found.beams] == [3, 2, 1, 0]


def test_a_reward_that_is_silent_on_beginnings_makes_it_best_of_k():
    def whole(beam):
        return None if beam.live else by_id(beam)

    steps, found = drive(BlockwiseBestOfK(k=3, block=5), task(), whole, grow=ending_at({}, default=12))
    assert [beam.id for beam in found.beams] == [2, 1, 0]
    assert of(Remark, steps) == [UNJUDGED]


@pytest.mark.parametrize("fields", [{"k": 0}, {"block": 0}, {"decay": 0}, {"decay": 1.1}])
def test_impossible_values_are_refused(fields):
    with pytest.raises(ConfigurationError, match="must be"):
        BlockwiseBestOfK(**fields)
