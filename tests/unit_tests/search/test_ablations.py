"""The paper's ablations, which are configurations of Darwin: each does what its row in docs/searches.md says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from langchain_darwin.search.base import Grow, Mutated, Replaced, Score
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.darwin import Darwin
from tests.unit_tests.search.driving import INSTRUCTION, drive, of, task

SHORT = Darwin(period=5, mutation="append")


def by_id(beam):
    return float(beam.id)


def answers_grown(steps):
    return [step for step in of(Grow, steps) if not step.beams[0].aside]


@pytest.mark.parametrize(
    ("search", "mutates", "replaces"),
    [
        (SHORT, True, True),
        (Darwin(period=5), False, True),
        (replace(SHORT, mutation="none", replacement="top_k"), False, True),
        (replace(SHORT, replacement="none"), True, False),
        (replace(SHORT, mutation="none", replacement="none"), False, False),
    ],
)
def test_each_part_can_be_left_out(search, mutates, replaces):
    steps, _ = drive(search, task(), by_id)
    assert bool(of(Mutated, steps)) == mutates
    assert bool(of(Replaced, steps)) == replaces
    instructions = {beam.instruction for step in answers_grown(steps) for beam in step.beams}
    assert (instructions != {INSTRUCTION}) == mutates


def test_mutation_alone_is_best_of_n_over_instructions():
    steps, found = drive(replace(SHORT, replacement="none"), task(), by_id)
    (grow,) = answers_grown(steps)
    assert (len(grow.beams), grow.tokens) == (5, None)
    assert found.best.reward == max(beam.reward for beam in found.beams)


def test_without_both_it_is_best_of_n():
    _, ours = drive(replace(SHORT, mutation="none", replacement="none"), task(), by_id)
    _, theirs = drive(BestOfN(n=5), task(), by_id)
    assert ours.beams == theirs.beams


def test_beams_per_mutation_multiply_the_beams():
    steps, _ = drive(replace(SHORT, per_instruction=3), task(), by_id)
    assert len(answers_grown(steps)[0].beams) == 15


def test_look_ahead_shows_the_reward_more_than_is_kept():
    steps, _ = drive(replace(SHORT, mutation="none", look_ahead=4), task(), by_id)
    kept, ahead = of(Grow, steps)[:2]
    assert (kept.tokens, ahead.tokens) == (5, 4)
    assert {len(beam.tokens) for beam in of(Score, steps)[0].beams} == {9}


def test_an_answer_that_ends_in_the_look_ahead_is_kept():
    _, found = drive(replace(SHORT, mutation="none", look_ahead=60), task(), by_id)
    assert found.best.reward == max(beam.reward for beam in found.beams) > 9
