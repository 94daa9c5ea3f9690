"""Beams, tasks, and what tells one search from another."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from langchain_darwin.search.base import Grow, Outcome, describe
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.stop_at import StopAt


def test_a_search_is_described_by_its_name_and_fields():
    assert describe(BestOfN(n=3)) == {"search": "BestOfN", "n": 3, "batch": None}
    assert describe(Darwin()) != describe(Darwin.paper())


def test_searches_within_a_search_keep_their_names():
    described = describe(StopAt(1.0, BestOfN(), first=BestOfN(n=1)))
    assert described["then"] == describe(BestOfN())
    assert described["first"] == describe(BestOfN(n=1))


def plain(length):
    @dataclass(frozen=True)
    class Plain:
        n: int = 1

        def run(self, task):
            beams = yield Grow(task.roots(self.n), length)
            return Outcome(tuple(beams))

    return Plain


def test_own_searches_are_told_apart_by_their_code():
    one, same, other = plain(5), plain(5), plain(6)
    assert describe(one()) == describe(same())
    assert describe(one()) != describe(other())
    assert describe(one()) != describe(one(n=2))
    assert json.loads(json.dumps(describe(one()))) == describe(one())


class Loose:
    """Not a dataclass."""

    def __init__(self, n):
        self.n = n

    def run(self, task):
        beams = yield Grow(task.roots(self.n))
        return Outcome(tuple(beams))


def test_searches_that_are_no_dataclasses_are_told_apart_by_their_state():
    assert describe(Loose(1)) == describe(Loose(1)) != describe(Loose(2))
    assert describe(Loose(1))["search"] == "Loose"


@pytest.mark.parametrize("search", [BestOfN(), Darwin.paper()])
def test_searches_of_this_package_are_described_without_their_code(search):
    assert "digest" not in describe(search)
