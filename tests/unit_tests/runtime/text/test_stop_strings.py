"""Stop strings end a response in its answer alone."""

from itertools import pairwise

import pytest

from langchain_darwin.runtime.text.stop_strings import completes, cut
from langchain_darwin.runtime.text.thinking import Thought

THOUGHT = Thought("<think>", "</think>")


@pytest.mark.parametrize(
    ("text", "stops", "thought", "left"),
    [
        ("a\n\nb", ["\n\n"], None, "a"),
        ("one two three", ["three", "two"], None, "one "),
        ("nothing of it", ["\n"], None, "nothing of it"),
        ("text", [], None, "text"),
        ("<think>a\n\nb</think>\n\nOne.\n\nTwo.", ["\n\n"], THOUGHT, "<think>a\n\nb</think>\n\nOne."),
        ("<think>a\n\nb", ["\n\n"], THOUGHT, "<think>a\n\nb"),
        ("a\n\nb</think>\n\nOne.\n\nTwo.", ["\n\n"], Thought("", "</think>"), "a\n\nb</think>\n\nOne."),
        ("a\n\nb", ["\n\n"], Thought("", "</think>"), "a\n\nb"),
        ("No thought.\n\nTwo.", ["\n\n"], THOUGHT, "No thought."),
        ("The <think> tag\n\nis one.", ["\n\n"], THOUGHT, "The <think> tag"),
    ],
)
def test_a_text_is_cut_at_the_first_stop_string_of_its_answer(text, stops, thought, left):
    assert cut(text, stops, thought) == left


@pytest.mark.parametrize("thought", [None, THOUGHT])
@pytest.mark.parametrize(
    ("text", "stops", "ends_at"),
    [
        ("ab\n\ncd", ["\n\n"], "ab\n\n"),
        ("xSTOPSTOP", ["STOP"], "xSTOP"),
        ("abab", ["bab", "ba"], "aba"),
    ],
)
def test_a_stop_string_is_completed_by_its_last_character(text, stops, ends_at, thought):
    beginnings = [text[:end] for end in range(len(text) + 1)]
    ends = [after for before, after in pairwise(beginnings) if completes(before, after, stops, thought)]
    assert ends[0] == ends_at


def test_a_stop_string_before_the_answer_completes_nothing():
    text = "<think>a\n\nb</think>\n\nOne.\n\n"
    ends = [end for end in range(1, len(text) + 1) if completes(text[: end - 1], text[:end], ["\n\n"], THOUGHT)]
    assert ends == [len(text)]


def test_what_may_have_been_thinking_counts_once_it_is_known_to_be_answer():
    assert not completes("<", "<t", ["<"], THOUGHT)
    assert completes("<t", "<tr", ["<"], THOUGHT)
