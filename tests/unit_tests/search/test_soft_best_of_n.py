"""Soft Best-of-N fed by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Growth
from langchain_darwin.search.base import Grow, Score
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.soft_best_of_n import SoftBestOfN
from tests.unit_tests.search.driving import drive, of, task

DRAWS = 600


def by_id(beam):
    return float(beam.id)


def one_word(beam, tokens, sampling):
    return Growth((300,), 0.0, "stop")


def winners(search):
    return Counter(drive(search, task(seed=seed), by_id, grow=one_word)[1].best.id for seed in range(DRAWS))


def test_answers_are_drawn_by_softmax_of_their_rewards():
    counts = winners(SoftBestOfN(n=3, temperature=1.0))  # e^0 : e^1 : e^2
    for ident, share in enumerate((0.090, 0.245, 0.665)):
        assert counts[ident] / DRAWS == pytest.approx(share, abs=0.07)


def test_a_low_temperature_is_best_of_n_a_high_one_a_plain_sample():
    assert winners(SoftBestOfN(n=3, temperature=1e-3)) == {2: DRAWS}
    assert min(winners(SoftBestOfN(n=3, temperature=1e6)).values()) > DRAWS / 4


def test_it_asks_for_the_same_as_best_of_n():
    soft, _ = drive(SoftBestOfN(n=3), task(), by_id)
    plain, _ = drive(BestOfN(n=3), task(), by_id)
    assert soft == plain
    assert [len(of(kind, soft)) for kind in (Grow, Score)] == [1, 1]


def test_the_answers_not_drawn_follow_by_reward():
    found = next(
        found for seed in range(9) if (found := drive(SoftBestOfN(n=4), task(seed=seed), by_id)[1]).best.id == 1
    )
    assert [beam.id for beam in found.beams] == [1, 3, 2, 0]


def test_an_answer_without_a_reward_is_not_drawn():
    def cut(beam, tokens, sampling):
        return replace(one_word(beam, tokens, sampling), finish="timeout" if beam.id else "stop")

    def judge(beam):
        return None if beam.finish == "timeout" else -50.0

    _, found = drive(SoftBestOfN(n=4), task(), judge, grow=cut)
    assert found.best.id == 0


@pytest.mark.parametrize("fields", [{"n": 0}, {"temperature": 0}, {"temperature": float("nan")}])
def test_impossible_values_are_refused(fields):
    with pytest.raises(ConfigurationError, match="must be"):
        SoftBestOfN(**fields)
