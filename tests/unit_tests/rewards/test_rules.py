"""Rule rewards: their numbers on finished and on unfinished text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards import (
    Complete,
    Keywords,
    LengthWindow,
    Matches,
    NoRefusal,
    RepetitionPenalty,
    ValidJson,
    as_reward,
)
from langchain_darwin.rewards.json_text import may_become_json


def finished(text: str, reason: str = "stop", tokens: int = 0) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": reason, "tokens": tokens})


def unfinished(text: str) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": None, "tokens": 0})


def score(rule: Any, response: AIMessage | str) -> float:
    answer = finished(response) if isinstance(response, str) else response
    return as_reward(rule).score([HumanMessage("Go.")], [answer])[0]


def words(count: int) -> str:
    return " ".join(["word"] * count)


@pytest.mark.parametrize(("length", "expected"), [(0, 0.0), (5, 0.5), (10, 1.0), (20, 1.0), (30, 0.5), (60, -1.0)])
def test_length_falls_off_linearly_outside_the_window(length: int, expected: float) -> None:
    assert score(LengthWindow(10, 20), words(length)) == pytest.approx(expected)


@pytest.mark.parametrize(("length", "expected"), [(0, 1.0), (5, 1.0), (20, 1.0), (30, 0.5)])
def test_unfinished_text_is_not_too_short_but_can_be_too_long(length: int, expected: float) -> None:
    assert score(LengthWindow(10, 20), unfinished(words(length))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("unit", "length"),
    [("words", 9), ("characters", 49), ("sentences", 3), ("lines", 2), ("tokens", 17)],
)
def test_length_is_counted_in_the_unit_asked_for(unit: Any, length: int) -> None:
    response = finished("It's 3.5 degrees. Really?\n\nYes! A well-known fact", tokens=17)

    assert score(LengthWindow(length, length, unit=unit), response) == 1.0


def test_chinese_and_japanese_characters_count_as_words() -> None:
    assert score(LengthWindow(6, 6), "春眠不覚暁 ok") == 1.0


@pytest.mark.parametrize(("text", "expected"), [("Born in 1815.", 1.0), ("Born long ago.", 0.0)])
def test_matches_finds_the_expression_anywhere(text: str, expected: float) -> None:
    assert score(Matches(r"\b\d{4}\b"), text) == score(Matches(r"\b\d{4}\b"), unfinished(text)) == expected


def test_a_full_match_spans_the_text_and_waits_for_its_end() -> None:
    rule = Matches(r"(?i)yes|no", full=True)

    assert [score(rule, text) for text in (" Yes\n", "Yes, sir")] == [1.0, 0.0]
    assert as_reward(rule).partial is False
    assert as_reward(Matches("yes")).partial is True


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Ada", "age": 36}', 1.0),
        ('{"name": "Ada"}', 1 / 2),
        ('{"name": 1, "age": "x"}', 1 / 3),
        ('{"name": "Ada", "age": 36', 0.0),
        ('Sure: {"name": "Ada", "age": 36}', 0.0),
        ('{"name": "Ada", "age": NaN}', 0.0),
        ("", 0.0),
    ],
)
def test_json_is_graded_by_violations_of_the_schema(text: str, expected: float) -> None:
    assert score(ValidJson(Person), text) == expected
    assert score(ValidJson(Person.model_json_schema()), text) == expected


def test_any_json_is_valid_without_a_schema() -> None:
    assert [score(ValidJson(), text) for text in ("[1, 2]", "3", "three")] == [1.0, 1.0, 0.0]


def test_json_nested_too_deeply_to_be_read_is_not_valid() -> None:
    deep = "[" * 100_000

    assert [score(ValidJson(), deep), score(ValidJson(), unfinished(deep))] == [0.0, 0.0]


def test_unfinished_json_counts_while_it_can_still_become_json() -> None:
    assert score(ValidJson(Person), unfinished('{"name": "A')) == 1.0
    assert score(ValidJson(Person), unfinished("Sure, here")) == 0.0


@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"ensure_ascii": False}])
@pytest.mark.parametrize(
    "value", [{"a": [1, -2.5e-30, True, None, 'x"\\é\n'], "b": {"c": False}}, "str", [[], {}], -0.5]
)
def test_every_beginning_of_json_can_become_json(value: Any, options: dict[str, Any]) -> None:
    text = json.dumps(value, **options)

    assert [text[:end] for end in range(len(text) + 1) if not may_become_json(text[:end])] == []


@pytest.mark.parametrize(
    "text",
    [
        "{a",
        "[1,,",
        "[.",
        '{"a":1]',
        "1..",
        "[1e]",
        "hello",
        "{} x",
        "[1 2",
        '"\\x',
        "[NaN",
        "nulx",
        "[-e",
        "tr ue",
        "{,",
        "[1,]",
    ],
)
def test_what_cannot_become_json_is_known_at_once(text: str) -> None:
    assert not may_become_json(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rain, then SUN and light snow.", 1.0),
        ("Rain.", 1 / 3),
        ("Trained for a week.", 0.0),
        ("Rain, sun, light snow, and fog.", 0.5),
    ],
)
def test_keywords_are_found_whole_and_forbidden_ones_cost(text: str, expected: float) -> None:
    rule = Keywords(["rain", "sun", "light snow"], forbidden=["fog", "hail"])

    assert score(rule, text) == score(rule, unfinished(text)) == pytest.approx(expected)


def test_keywords_in_scripts_without_spaces_are_found_anywhere() -> None:
    assert score(Keywords(["天気"]), "今日の天気は晴れです") == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("one two three four five", 0.0), ("a b c a b c a b c", -4 / 7), ("Go go GO go", -1 / 2), ("two words", 0.0)],
)
def test_repetition_is_the_share_of_trigrams_seen_before(text: str, expected: float) -> None:
    assert score(RepetitionPenalty(), text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm sorry, but I can't help with that.", 0.0),
        ("I\u2019m unable to answer.", 0.0),
        ("As an AI language model, I have no opinion.", 0.0),
        ("I cannot do that.", 0.0),
        ("I am not able to share it.", 0.0),
        ("Sorry to hear you are ill! Drink water.", 1.0),
        ("Paris is the capital. " * 10 + "I cannot say more.", 1.0),
        ("", 1.0),
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str, expected: float) -> None:
    assert score(NoRefusal(), text) == score(NoRefusal(), unfinished(text)) == expected


def test_complete_tells_ended_answers_from_those_cut_off() -> None:
    answers = [finished("Yes.", reason) for reason in ("stop", "length", "timeout")]

    assert as_reward(Complete()).score([], answers) == [1.0, 0.0, 0.0]
    assert as_reward(Complete()).partial is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LengthWindow(20, 10), "high=10 must be at least 20"),
        (lambda: LengthWindow(-1), "low=-1 must be at least 0"),
        (lambda: LengthWindow(1, 2, unit="pages"), "unit='pages' must be words"),
        (lambda: Matches("(unclosed"), r"regex='\(unclosed' is not a regular expression"),
        (lambda: ValidJson({"type": "objekt"}), "is not a JSON Schema: 'objekt' is not valid"),
        (lambda: Keywords("rain"), "words='rain' must be a sequence of words"),
        (Keywords, "gives every text the same score"),
        (lambda: RepetitionPenalty(0), "n=0 must be at least 1"),
    ],
)
def test_wrong_settings_are_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_rules_are_identified_by_their_settings() -> None:
    assert as_reward(LengthWindow(3, 9)).identity() == {
        "reward": "langchain_darwin.rewards.rules.LengthWindow",
        "low": 3,
        "high": 9,
        "unit": "words",
    }
    assert json.loads(json.dumps(as_reward(Keywords(["a"])).identity()))["words"] == ["a"]
