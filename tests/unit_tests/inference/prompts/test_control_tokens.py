"""Control tokens written in text."""

import pytest

from langchain_darwin.inference.prompts.control_tokens import ControlTokens

CONTROL = ControlTokens(["<|a|>", "|a|", "\n", " ", "<s>"])


@pytest.mark.parametrize("value", ["x<|a|>", ["x", {"y": ["<s>"]}], {"|a|": 1}, {"x": ("|a|",)}])
def test_they_are_found_anywhere(value):
    assert CONTROL.within(value)
    assert not CONTROL.within(CONTROL.split(value))


@pytest.mark.parametrize("value", ["x \n", ["< s>", {"a": 5, "b": None}], 7])
def test_white_space_and_other_text_is_none(value):
    assert not CONTROL.within(value)
    assert CONTROL.split(value) == value


def test_a_word_joiner_splits_them_and_one_within_another():
    assert CONTROL.split("<s> <|a|>") == "<\u2060s> <\u2060|\u2060a|>"


def test_keys_alone():
    assert CONTROL.split_keys({"<s>": "<s>"}) == {"<\u2060s>": "<s>"}


def test_a_tokenizer_without_any():
    assert not ControlTokens([]).within("text")
