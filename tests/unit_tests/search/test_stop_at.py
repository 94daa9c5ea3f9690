"""Stopping early, fed by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Grow, Outcome, Remark, Score, describe
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.stop_at import StopAt
from tests.unit_tests.search.driving import drive, ending_at, of, task


def by_id(beam):
    return float(beam.id)


STOPPED = Remark("Stopped: an answer reached the reward 2.")


def test_a_search_ends_at_the_first_answer_that_passes():
    steps, found = drive(StopAt(2, BestOfN(n=8, batch=2)), task(), by_id)
    assert len(of(Grow, steps)) == 2
    assert [beam.id for beam in found.beams] == [3, 2, 1, 0]
    assert steps[-1] == STOPPED


def test_a_search_that_never_passes_runs_as_without_it():
    steps, found = drive(StopAt(99, BestOfN(n=4, batch=2)), task(), by_id)
    assert (steps, found) == drive(BestOfN(n=4, batch=2), task(), by_id)


def test_unfinished_text_does_not_pass():
    search = Darwin(beams=3, keep=1, period=5, mutation="none")
    steps, found = drive(StopAt(2, search), task(), lambda beam: 9.0 if beam.live else 0.0, grow=ending_at({}))
    assert STOPPED not in steps
    assert found.best.reward == 0.0


def test_later_cycles_are_spared():
    search = Darwin(beams=3, keep=1, period=50, mutation="none", cycles=4)
    assert len(of(Grow, drive(search, task(), by_id)[0])) >= 4
    steps, _ = drive(StopAt(2, search), task(), by_id)
    assert len(of(Grow, steps)) == 1


@dataclass(frozen=True)
class Closing:
    """Notes that it was closed."""

    notes: tuple[list, ...]

    def run(self, task):
        try:
            beams = yield Grow(task.roots(1))
            yield Score(beams)
            yield Grow(beams)
            return Outcome(tuple(beams))
        finally:
            self.notes[0].append("closed")


def test_the_search_is_closed_when_it_is_stopped():
    notes = []
    drive(StopAt(0, Closing((notes,))), task(), by_id)
    assert notes == ["closed"]


class TestFirst:
    def test_the_search_is_skipped_if_a_first_answer_passes(self):
        steps, found = drive(StopAt(1, BestOfN(n=9), first=BestOfN(n=2)), task(), by_id)
        assert [len(step.beams) for step in of(Grow, steps)] == [2]
        assert found.best.id == 1

    def test_the_better_outcome_goes_first(self):
        steps, found = drive(StopAt(9, BestOfN(n=2), first=BestOfN(n=2)), task(), by_id)
        assert [beam.id for beam in found.beams] == [3, 2, 1, 0]
        assert [step.last_roots for step in of(Grow, steps)] == [False, True]
        _, found = drive(StopAt(9, BestOfN(n=2), first=BestOfN(n=2)), task(), lambda beam: -by_id(beam))
        assert [beam.id for beam in found.beams] == [0, 1, 2, 3]

    def test_the_plain_answer_of_either_is_handed_on(self):
        _, found = drive(StopAt(99, Darwin.paper(), first=BestOfN(n=1)), task(), by_id)
        assert found.seed.id == 1


@pytest.mark.parametrize("search", [BestOfN, None, "darwin"])
def test_only_searches_can_be_stopped(search):
    with pytest.raises(ConfigurationError, match=r"then=.* is not a search; pass an instance"):
        StopAt(1.0, search)
    with pytest.raises(ConfigurationError, match=r"first=.* is not a search"):
        StopAt(1.0, BestOfN(), first=search or 3)


def test_a_threshold_is_a_number():
    with pytest.raises(ConfigurationError, match="threshold=nan"):
        StopAt(float("nan"), BestOfN())


def test_its_description_names_the_searches_in_it():
    assert describe(StopAt(0.5, BestOfN(n=3))) == {
        "search": "StopAt",
        "threshold": 0.5,
        "then": {"search": "BestOfN", "n": 3, "batch": None},
        "first": None,
    }
