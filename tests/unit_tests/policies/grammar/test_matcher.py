"""One response in its grammar: forks, and texts that are completed because their tokens run out."""

from __future__ import annotations

import pytest

pytest.importorskip("xgrammar")

from langchain_darwin.policies.base import Constraint
from tests.noise import END, Noise


@pytest.fixture(scope="module")
def noise():
    return Noise.tiny()


def follow(noise, pattern, limit):
    """A matcher after a text of at most `limit` tokens."""
    matcher = noise.matcher(Constraint("regex", pattern))
    noise.drawn(matcher, limit)
    return matcher


def test_a_fork_goes_its_own_way(noise):
    compiled = noise.grammars.compile(Constraint("regex", "ab|ac"))
    a, b, c = (noise.ids(letter)[0] for letter in "abc")
    first = noise.grammars.matcher(compiled, (a,))
    second = first.fork()
    first.accept(b)
    second.accept(c)
    assert (first.tokens, second.tokens, first.complete, second.complete) == ([a, b], [a, c], True, True)
    assert (first.finished, first.accept(END), first.finished) == (False, END, True)


def test_a_text_that_ends_by_itself_is_not_cut(noise):
    matcher = follow(noise, "yes|no", 48)
    assert (matcher.finished, matcher.cut_short(48 - len(matcher.tokens))) == (True, False)


def test_a_text_closed_for_want_of_tokens_is_cut(noise):
    matcher = follow(noise, '"[a-z ]*"', 48)
    assert (matcher.finished, matcher.cut_short(48 - len(matcher.tokens))) == (True, True)


def test_a_cut_goes_with_forks_that_hold_it(noise):
    matcher = follow(noise, '"[a-z ]*"', 48)
    assert [matcher.fork(length).cut_short(48 - length) for length in (20, 47)] == [False, True]


def test_a_cut_says_nothing_of_a_longer_text(noise):
    matcher = follow(noise, '"[a-z ]*"', 48)
    assert not matcher.cut_short(left=90 - len(matcher.tokens))
