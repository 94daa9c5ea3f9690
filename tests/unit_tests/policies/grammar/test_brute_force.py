"""Masks, completions and limits on random patterns, compared with all texts of a small vocabulary."""

from __future__ import annotations

import random
import re

import pytest

pytest.importorskip("xgrammar")

from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_darwin.policies.base import Constraint
from tests.small_vocabulary import LONGEST_TEXT, NEVER, PIECES, grammars, text_of, tokens_to_end

SLACK = 2  # the greedy search spells letter by letter; a token of two or three letters may save some


def _counted(part: str, least: int, more: int) -> str:
    return f"({part}){{{least},{least + more}}}"


letters = st.sampled_from(["a", "b", "c", "[ab]", "[^a]", "[bc]"])
patterns = st.recursive(
    letters,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from("*?+")).map(lambda two: f"({two[0]}){two[1]}"),
        st.builds(_counted, inner, st.integers(0, 2), st.integers(0, 2)),
    ),
    max_leaves=5,
)
seeds = st.integers(0, 10**6)
cases = settings(max_examples=120, deadline=None, derandomize=True)


def new_matcher(pattern):
    return grammars().new_matcher(grammars().compile(Constraint("regex", pattern)))


def walk(matcher, seed, length):
    """Up to `length` random tokens that the masks allow."""
    rng = random.Random(seed)
    while not matcher.finished and len(matcher.tokens) < length:
        matcher.accept(rng.choice(grammars().allowed_ids(matcher)))
    return text_of(matcher.tokens)


@cases
@given(patterns, seeds)
def test_a_token_is_allowed_if_and_only_if_the_text_can_still_be_completed(pattern, seed):
    matcher, fewest = new_matcher(pattern), tokens_to_end(pattern)
    text = walk(matcher, seed, 3)
    if matcher.finished or len(text) > LONGEST_TEXT - 5:
        return
    allowed = {text_of([token]) for token in grammars().allowed_ids(matcher)}
    possible = {piece for piece in PIECES if fewest(text + piece) < NEVER}
    assert possible <= allowed
    assert ("" in allowed) == matcher.complete == bool(re.fullmatch(pattern, text))
    for piece in allowed - possible - {""}:  # it can be completed, but not within `LONGEST_TEXT`
        matched = walk_after(pattern, text + piece)
        assert re.fullmatch(pattern, matched)


def walk_after(pattern, text):
    """A text and its completion."""
    matcher = new_matcher(pattern)
    for letter in text:
        matcher.accept(PIECES.index(letter) + 1)
    return text + text_of(matcher.shortest_completion())


@cases
@given(patterns, seeds)
def test_a_completion_is_valid_and_nearly_the_shortest(pattern, seed):
    matcher, fewest = new_matcher(pattern), tokens_to_end(pattern)
    text = walk(matcher, seed, 3)
    if matcher.finished or fewest(text) >= NEVER:
        return
    completion = matcher.shortest_completion()
    assert re.fullmatch(pattern, text + text_of(completion))
    assert fewest(text) <= len(completion) <= fewest(text) + SLACK
    for token in completion:
        matcher.accept(token)
    assert matcher.finished


@cases
@given(patterns, seeds, st.integers(0, 4))
def test_a_token_is_kept_if_and_only_if_a_completion_still_fits(pattern, seed, spare):
    """Every text ends within its limit if the limit suffices for the completion known at the start."""
    matcher, rng = new_matcher(pattern), random.Random(seed)
    limit = len(matcher.shortest_completion()) + spare
    while not matcher.finished:
        left = limit - len(matcher.tokens) - 1
        drawn = rng.choice(grammars().allowed_ids(matcher))
        tried = matcher.fork()
        tried.accept(drawn)
        fits = len(tried.shortest_completion()) <= left
        kept = matcher.accept(drawn, left) == drawn
        assert kept if fits else kept or matcher.cut_short(left)
    assert len(matcher.tokens) <= limit
    assert re.fullmatch(pattern, text_of(matcher.tokens))
