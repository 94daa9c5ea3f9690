"""The thinking at the beginning of a response."""

import pytest

from langchain_darwin.runtime.text.thinking import Thought, thought_end

BEGINS = Thought("<think>", "</think>")
OPENED = Thought("", "</think>")


@pytest.mark.parametrize(
    ("thought", "text", "thinking", "answer"),
    [
        (BEGINS, "Oslo.", "", "Oslo."),
        (BEGINS, "<think>Hm.</think>Oslo.", "Hm.", "Oslo."),
        (BEGINS, "\n<think>\nHm.\n</think>\n\nOslo.", "\nHm.\n", "Oslo."),
        (BEGINS, "<think>a</think><think>b</think>Oslo.", "ab", "Oslo."),
        (BEGINS, "The <think> tag.", "", "The <think> tag."),
        (BEGINS, "Oslo.<think>Hm.</think>", "", "Oslo.<think>Hm.</think>"),
        (BEGINS, "Hm.</think>Oslo.", "", "Hm.</think>Oslo."),
        (BEGINS, "  indented", "", "  indented"),
        (OPENED, "Hm.</think>\nOslo.", "Hm.", "Oslo."),
        (OPENED, "Hm.</think>Oslo. <think></think>", "Hm.", "Oslo. <think></think>"),
        (Thought("[THINK]", "[/THINK]"), "[THINK]Hm.[/THINK]Oslo.", "Hm.", "Oslo."),
    ],
)
def test_a_response_is_thinking_and_then_answer(thought, text, thinking, answer):
    found, start = thought.read(text)
    assert (found, text[start:]) == (thinking, answer)
    assert thought.read(text, done=True) == (found, start)


@pytest.mark.parametrize(
    ("thought", "text", "certain", "if_it_ends"),
    [
        (BEGINS, "", "", ("", "")),
        (BEGINS, " <th", "", ("", " <th")),
        (BEGINS, "<think>Hm. </thi", "Hm. ", ("Hm. </thi", "")),
        (BEGINS, "<think>a</think>\n", "a", ("a", "")),
        (BEGINS, "<think>a</think><th", "a", ("a", "<th")),
        (OPENED, "Hm.<", "Hm.", ("Hm.<", "")),
        (OPENED, "Hm.</think>\n", "Hm.", ("Hm.", "")),
    ],
)
def test_the_answer_has_not_begun(thought, text, certain, if_it_ends):
    assert thought.read(text) == (certain, None)
    thinking, start = thought.read(text, done=True)
    assert (thinking, text[start:]) == if_it_ends


@pytest.mark.parametrize(
    ("text", "rest"), [("4", "4"), ("a</think>4", "4"), ("a</think>b[/THINK] 4", " 4"), ("<think>4", "<think>4")]
)
def test_what_comes_after_the_last_thought(text, rest):
    assert text[thought_end(text) :] == rest
