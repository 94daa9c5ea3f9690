"""Grades in replies, in log-probabilities, and in a policy's next tokens."""

from __future__ import annotations

import math

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Proposal
from langchain_darwin.rewards.judges.grading import Scale, Spellings, grade_in

TEN = Scale(1, 10)


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("7", 7),
        (" **8**\n", 8),
        ("7.5", 7.5),
        ("7,5", 7.5),
        ("10.", 10),
        ("Score: 9", 9),
        ("**Score:** 9/10", 9),
        ("score is 3", 3),
        ("Rating — 4", 4),
        ('```json\n{"score": 6, "why": "2 mistakes"}\n```', 6),
        ("The answer has 3 parts and 2 errors.\nScore: 5", 5),
        ("On a scale of 1 to 10, I would give it an 8.", 8),
        ("Score (1-10): 2", 2),
        ("First I thought of 3/10, but it deserves 6/10.", 6),
        ("8 out of 10", 8),
        ("<think>Maybe 3. Score: 3?</think>\n9", 9),
        ("I say 7. Yes, 7.", 7),
    ],
)
def test_the_grade_is_found(reply, grade):
    assert grade_in(TEN.find(reply)) == grade


@pytest.mark.parametrize(
    "reply",
    ["", "good", "11", "0", "Score: 70%", "Score: 12", "between 6 and 8", "3 of the 5 facts", "1 to 10", "-3", "2024"],
)
def test_what_is_not_clear_is_no_grade(reply):
    assert TEN.find(reply) is None


def test_a_scale_may_reach_below_zero():
    assert grade_in(Scale(-5, 5).find("Score: -3")) == -3


@pytest.mark.parametrize("ends", [(1, 1), (5, 1), (0, 200), (1.0, 5), (True, 5)])
def test_a_scale_of_nothing_is_refused(ends):
    with pytest.raises(ConfigurationError, match="must be two whole numbers"):
        Scale(*ends)


def entry(token, **chances):
    top = [{"token": other.removeprefix("t"), "logprob": math.log(chance)} for other, chance in chances.items()]
    return {"token": token, "logprob": 0.0 if not top else top[0]["logprob"], "top_logprobs": top}


def test_the_expected_grade_is_over_the_alternatives_on_the_scale():
    content = [entry("Score"), entry(": "), entry("7", t7=0.5, t8=0.3, t99=0.1, the=0.1)]
    assert TEN.expectation(content) == pytest.approx((7 * 0.5 + 8 * 0.3) / 0.8)


def test_without_alternatives_the_expected_grade_is_the_grade():
    assert TEN.expectation([entry(" 7")]) == 7


@pytest.mark.parametrize("content", [[], [entry("good")], [entry("1"), entry("0")], [entry("7.5")]])
def test_a_grade_that_is_not_one_whole_token_has_no_expectation(content):
    assert TEN.expectation(content) is None


class Digits:
    """A codec with a token per character."""

    def encode_text(self, text):
        return tuple(map(ord, text))


def test_a_grade_of_several_tokens_counts_as_far_as_it_is_completed():
    spellings = Spellings(TEN, Digits())
    assert spellings.beginnings == [(), (32,), (49,), (32, 49)]
    chances = {(): {"1": 0.6, "7": 0.4}, (49,): {"0": 0.25}}
    proposals = [proposal(chances.get(beginning, {}), spellings.next_tokens) for beginning in spellings.beginnings]
    # 1 has 0.6 * 0.75, 10 has 0.6 * 0.25
    assert spellings.expectation(proposals) == pytest.approx(1 * 0.45 + 10 * 0.15 + 7 * 0.4)


def test_grades_of_one_token_need_one_question():
    spellings = Spellings(Scale(0, 9), Digits())
    assert spellings.beginnings == [(), (32,)]


def proposal(chances, tokens):
    return Proposal(tuple(tokens), tuple(math.log(chances.get(chr(token), 1e-300)) for token in tokens))
