"""Guards against over-optimisation: length, improbable text, broken text."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards import LengthCorrected, LogprobFloor, NotDegenerate, Veto, as_reward
from langchain_darwin.testing import ScriptedPolicy

MESSAGES = [HumanMessage("Name a colour.")]
PROSE = (
    "The quick brown fox jumps over the lazy dog, and then it sits down by the river to think about what it has"
    " done; nobody else was there, so nobody can tell whether any of this is true, but I like to believe it."
)


def chatty(messages, responses):
    """Two points a word, and ten for "good"."""
    return [2 * len(response.text.split()) + 10 * ("good" in response.text) for response in responses]


def flat(messages, responses):
    return [1.0] * len(responses)


def test_what_is_paid_for_length_is_taken_off():
    scores = LengthCorrected(chatty, slope=2)(MESSAGES, [AIMessage("a b c"), AIMessage("good"), AIMessage("")])

    assert scores == [0.0, 10.0, 0.0]
    assert scores[0].parts == {"chatty": 6.0}


def test_the_slope_is_fitted_within_questions():
    samples = [("q", "a"), ("q", "a b c"), ("p", "good a b"), ("p", "good a b c d e"), ("o", "good")]

    assert LengthCorrected(chatty).calibrated(samples).slope == pytest.approx(2.0)


def test_a_slope_needs_answers_of_different_lengths():
    with pytest.raises(ConfigurationError, match="no question has answers of different lengths"):
        LengthCorrected(chatty).calibrated([("q", "a"), ("p", "a b c")])
    with pytest.raises(ConfigurationError, match="LengthCorrected has no slope"):
        as_reward(LengthCorrected(chatty)).score(MESSAGES, [AIMessage("a")])


def drawn(text, logprob, tokens):
    return AIMessage(text, response_metadata={"finish_reason": "stop", "logprob": logprob, "tokens": tokens})


def test_improbable_text_loses_reward_by_the_distance_to_the_floor():
    guard = LogprobFloor(flat, floor=-2, weight=3)

    scores = guard(MESSAGES, [drawn("a", -10, 10), drawn("b", -50, 10), drawn("", 0, 0)])

    assert scores == [1.0, 1.0 - 3 * 3, 1.0]
    assert scores[1].parts == {"flat": 1.0, "mean logprob": -5.0}


def test_without_log_probabilities_it_says_what_is_missing():
    with pytest.raises(RewardError, match=r"without response_metadata\['logprob'\]"):
        as_reward(LogprobFloor(flat)).score(MESSAGES, [AIMessage("a")])


def test_searches_note_the_log_probability():
    seen = []

    def watched(messages, responses):
        seen.extend(response.response_metadata for response in responses)
        return flat(messages, responses)

    model = ChatDarwin(model=ScriptedPolicy(), reward=LogprobFloor(watched), search=BestOfN(n=3), seed=1)
    model.invoke("Name a colour.")

    assert len(seen) == 3
    assert all(facts["logprob"] < 0 and facts["tokens"] > 0 for facts in seen)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        PROSE,
        PROSE + " I cannot " * 2,
        "1" + "0" * 40,
        "# Title\n\n" + "-" * 80,
        "def f(x):\n    return [y ** 2 for y in x if y > 0]\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
        "春眠不觉晓\uff0c处处闻啼鸟。夜来风雨声\uff0c花落知多少。",
        "Ωρολόγιο πρόγραμμα και ένα μεγαλύτερο κείμενο στα ελληνικά.",
        "यह एक लंबा वाक्य है जो हिंदी में लिखा गया है और ठीक है।",
    ],
)
def test_ordinary_text_passes(text):
    assert NotDegenerate()([], [AIMessage(text, response_metadata={"finish_reason": "stop"})]) == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        PROSE + " and so on" * 12,
        "ha" * 60,
        "\n".join(["I am sorry."] * 20),
        " ".join(["the cat sat on the mat while the dog ran"] * 3 + ["off"]) * 2,
        "@#$%^&*()_+{}|:<>?~`-=[]\\;',./" * 3,
        "ok \ufffd\ufffd\ufffd\ufffd then some more words here and there",
        "fine text with \x00\x01\x02\x03\x04 in it, forty characters long",
    ],
)
def test_broken_text_does_not(text):
    for finish in ("stop", None):
        assert NotDegenerate()([], [AIMessage(text, response_metadata={"finish_reason": finish})]) == [0.0]


def test_truncated_answers_are_broken_unless_allowed():
    cut, growing = (AIMessage(PROSE, response_metadata={"finish_reason": reason}) for reason in ("length", None))

    assert NotDegenerate()([], [cut, growing]) == [0.0, 1.0]
    assert NotDegenerate(truncated=False)([], [cut]) == [1.0]


def test_guards_wrap_one_another():
    reward = Veto(LogprobFloor(LengthCorrected(chatty, slope=2), floor=-1), unless=NotDegenerate())

    assert as_reward(reward).score(MESSAGES, [drawn("good a b", -6, 3), drawn("ha" * 60, -1, 60)]) == [9.0, -1001.0]
