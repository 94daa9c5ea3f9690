"""Majority vote fed by hand."""

from __future__ import annotations

import re

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Growth
from langchain_darwin.search.base import Grow, Score, describe
from langchain_darwin.search.majority_vote import MajorityVote, key_votes, similarity
from langchain_darwin.testing import WordCodec
from tests.unit_tests.search.driving import drive, of, task


def saying(*texts):
    """Growth to the text of the beam's id."""
    return lambda beam, tokens, sampling: Growth(WordCodec().encode_text(texts[beam.id]), 0.0, "stop")


def number(text):
    found = re.search(r"-?\d+", text)
    return None if found is None else int(found[0])


def vote(search, texts, reward=lambda beam: float(beam.id)):
    steps, found = drive(search, task(), reward, grow=saying(*texts))
    return [beam.id for beam in found.beams], [[beam.id for beam in step.beams] for step in of(Score, steps)]


def test_the_answer_most_give_wins():
    order, judged = vote(MajorityVote(n=5, answer=number), ["It is 7", "say 8", "8 it is", "a 7", "7!"])
    assert order == [4, 3, 0, 1, 2]  # the sevens, by reward; then the eights
    assert judged == [[0, 3, 4]]


def test_a_lone_winner_is_not_judged():
    assert vote(MajorityVote(n=1, answer=number), ["7"]) == ([0], [])
    assert vote(MajorityVote(n=3), ["the sea is grey", "the sea is grey now", "no"])[1] in ([], [[0, 1]])


def test_a_tie_goes_to_the_reward():
    order, judged = vote(MajorityVote(n=4, answer=number), ["7", "8", "8", "7"], lambda beam: float(beam.id == 2))
    assert order == [2, 0, 1, 3]
    assert judged == [[0, 1, 2, 3]]


def test_who_gives_no_answer_abstains():
    assert vote(MajorityVote(n=4, answer=number), ["well", "hm", "well", "8"]) == ([3, 0, 1, 2], [])
    order, _ = vote(MajorityVote(n=3, answer=number), ["well", "hm", "well"])
    assert order == [2, 1, 0]  # none answers: as Best-of-N


def test_votes_can_count_by_reward():
    rewards = {0: 9.0, 1: 1.0, 2: 1.0, 3: 1.2}
    search = MajorityVote(n=4, answer=number, weighted=True)
    order, judged = vote(search, ["7", "8", "8", "9"], lambda beam: rewards[beam.id])
    assert order[0] == 0
    assert judged == [[0, 1, 2, 3]]


def test_free_text_goes_to_what_the_others_are_most_like():
    texts = ["The sea is grey and calm", "The sea is calm and grey", "Buy two lamps", "The sea is grey, calm"]
    order, judged = vote(MajorityVote(n=4), texts)
    assert order[0] == 0
    assert order[-1] == 2
    assert judged == []


def test_similarity_is_symmetric_and_between_0_and_1():
    assert similarity("A  calm\nsea", "a calm SEA") == 1.0
    assert similarity("abc", "xyz") == 0.0
    assert similarity("", "") == 1.0
    assert similarity("", "a long text") == similarity("a long text", "") < 0.1
    assert similarity("大海很平静", "大海很安静") == pytest.approx(0.4)


def test_votes_of_equal_keys_add_up():
    assert key_votes(["a", None, "b", "a"], [1.0, 5.0, 2.0, 0.5]) == [1.5, 0.0, 2.0, 1.5]


def test_a_key_that_cannot_be_counted_is_an_error():
    with pytest.raises(ConfigurationError, match=r"returned \[7\], which cannot be counted"):
        vote(MajorityVote(n=2, answer=lambda text: [7]), ["7", "8"])


def test_values_outside_their_range_are_refused():
    with pytest.raises(ConfigurationError, match="n=0 must be at least 1"):
        MajorityVote(n=0)
    with pytest.raises(ConfigurationError, match="answer='7' must be a function"):
        MajorityVote(answer="7")


def test_it_grows_all_answers_at_once():
    steps, _ = drive(MajorityVote(n=3), task(), lambda beam: 0.0)
    (grow,) = of(Grow, steps)
    assert (len(grow.beams), grow.tokens, grow.last_roots) == (3, None, True)


def starts_with(word):
    return lambda text: text.startswith(word)


def test_its_description_tells_one_answer_key_from_another():
    one, same, other = (MajorityVote(answer=starts_with(word)) for word in ("a", "a", "b"))
    assert describe(one) == describe(same) != describe(other)
    assert describe(MajorityVote()) == {"search": "MajorityVote", "n": 5, "answer": None, "weighted": False}
    assert describe(MajorityVote(answer=number))["answer"]["name"] == "number"
