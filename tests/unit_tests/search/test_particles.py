"""Particle resampling fed by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Grow, Remark, Replaced
from langchain_darwin.search.particles import Particles
from langchain_darwin.search.steps import UNJUDGED
from tests.unit_tests.search.driving import drive, ending_at, of, task


def rewards(*values):
    """Rewards by id; copies have that of beam 0."""
    return lambda beam: values[beam.id] if beam.id < len(values) else values[0]


def test_a_strong_particle_takes_all_places_at_a_low_temperature():
    steps, _ = drive(
        Particles(n=4, period=5, temperature=0.01), task(), rewards(1.0, 0.5, 0.2, 0.0), grow=ending_at({}, default=8)
    )
    assert [(event.receiver, event.donor) for event in of(Replaced, steps)] == [(1, 0), (2, 0), (3, 0)]
    assert len(of(Grow, steps)[1].beams) == 4


def test_particles_survive_in_proportion_to_their_weights():
    survived = Counter()
    for seed in range(300):
        search = Particles(n=2, period=5, temperature=1.0)
        steps, _ = drive(search, task(seed=seed), rewards(1.0986, 0.0), grow=ending_at({}, default=8))  # 3 : 1
        survived[len(of(Replaced, steps))] += 1
    assert survived[1] / 300 == pytest.approx(0.5, abs=0.1)  # beam 1 is drawn n w = 1/2 times on average


def test_equal_rewards_replace_nothing():
    steps, _ = drive(Particles(n=5, period=5), task(), lambda beam: 3.0, grow=ending_at({}, default=8))
    assert of(Replaced, steps) == []


@pytest.mark.parametrize(("ess", "resampled"), [(1.0, True), (0.9, True), (0.5, False), (0.0, False)])
def test_it_waits_until_few_particles_carry_the_weight(ess, resampled):
    search = Particles(n=4, period=5, temperature=1.0, ess=ess)  # ess of these rewards: 2.8 of 4
    resamplings = [
        of(Replaced, drive(search, task(seed=seed), rewards(2.0, 1.0, 1.0, 0.0), grow=ending_at({}, default=8))[0])
        for seed in range(5)
    ]
    assert any(resamplings) == resampled


def test_finished_answers_are_kept_apart():
    steps, found = drive(
        Particles(n=3, period=5, temperature=0.01), task(), rewards(1.0, 9.0, 0.0), grow=ending_at({1: 3}, default=8)
    )
    assert [(event.receiver, event.donor) for event in of(Replaced, steps)] == [(2, 0)]
    assert found.best.id == 1


def test_a_reward_that_is_silent_on_beginnings_makes_it_best_of_n():
    def whole(beam):
        return None if beam.live else float(beam.id)

    steps, found = drive(Particles(n=3, period=5), task(), whole, grow=ending_at({}, default=12))
    assert [beam.id for beam in found.beams] == [2, 1, 0]
    assert of(Remark, steps) == [UNJUDGED]


@pytest.mark.parametrize("fields", [{"n": 0}, {"period": 0}, {"temperature": 0}, {"ess": -1}, {"ess": 1.5}])
def test_impossible_values_are_refused(fields):
    with pytest.raises(ConfigurationError, match="must be"):
        Particles(**fields)
