"""Steps that searches share."""

from __future__ import annotations

import math
import random

import pytest

from langchain_darwin.search.base import Beam, Replaced
from langchain_darwin.search.steps import (
    complete_first,
    judged,
    softmax,
    standardised,
    systematic,
    take_over,
)
from tests.unit_tests.search.driving import task


def beam(ident, reward=None, finish=None):
    return Beam(ident, "I", (1,), (7,) * 5, reward=reward, finish=finish)


def test_softmax_is_scaled_and_survives_large_rewards():
    assert softmax([0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert softmax([1e6, 1e6 + 1], 1e-3) == pytest.approx([0.0, 1.0])
    assert softmax([-5.0]) == [1.0]


def test_standardised_values_have_no_unit():
    assert standardised([1.0, 3.0]) == [-1.0, 1.0]
    assert standardised([1000.0, 3000.0]) == [-1.0, 1.0]
    assert standardised([2.0, 2.0]) == [0.0, 0.0]


def test_complete_answers_go_before_those_cut_short():
    beams = [beam(0, 9.0, "timeout"), beam(1, 1.0, "stop"), beam(2, 2.0, "length"), beam(3, None, "stop")]
    assert [one.id for one in complete_first(beams)] == [2, 1, 3, 0]


def test_beams_can_be_compared_once_all_are_judged():
    assert judged([])
    assert judged([beam(0, 0.0)])
    assert not judged([beam(0, 0.0), beam(1)])


def test_counts_of_resampling_are_the_floor_or_ceiling_of_the_expected_number():
    rng = random.Random(3)
    for _ in range(200):
        weights = [rng.random() + 0.01 for _ in range(7)]
        counts = systematic(weights, rng.random())
        assert sum(counts) == 7
        for weight, count in zip(weights, counts, strict=True):
            assert math.floor(7 * weight / sum(weights)) <= count <= math.ceil(7 * weight / sum(weights))


def test_a_copy_takes_over_the_place_of_its_receiver():
    job = task()
    weak, strong = job.roots(2)
    steps = take_over(job, [weak, strong], [(weak, strong)])
    event = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(None)
    copy, other = end.value.value
    assert event == Replaced(weak.id, strong.id, copy.id, None)
    assert other is strong
    assert (copy.parent, copy.tokens, copy.prompt) == (strong.id, strong.tokens, strong.prompt)
    assert len({copy.id, weak.id, strong.id}) == len({copy.key, weak.key, strong.key}) == 3
