"""Pages and docstrings are short sentences in the field's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prose import (
    docstring_passages,
    docstrings,
    home_made_in,
    markdown_passages,
    messages,
    ninetieth_percentile,
    sentences,
    words,
)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "langchain_darwin"
LONGEST = 25
WELL_BELOW = 20

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MODULES = sorted(PACKAGE.rglob("*.py"))


def faults(passages):
    """Words of the list, and sentences that are too long."""
    for passage in passages:
        yield from (f"{fault}: {passage[:80]}" for fault in home_made_in(passage))
        lengths = [(len(words(sentence)), sentence) for sentence in sentences(passage)]
        yield from (f"{length} words: {sentence}" for length, sentence in lengths if length > LONGEST)


def faults_of_module(source):
    """Those of its docstrings, and functions that are described by a question."""
    for name, is_function, text in docstrings(source):
        yield from (f"{name}: {fault}" for fault in faults(docstring_passages(text)))
        first = text.split()[0]
        if is_function and first in {"What", "Whether", "How", "Where", "Why", "Which"}:
            yield f"{name}: begins with {first!r}; begin with a verb or a noun phrase"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_short_sentences_in_the_words_of_the_field(page):
    assert list(faults(markdown_passages(page.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nine_of_ten_sentences_of_a_page_are_well_below_the_limit(page):
    assert ninetieth_percentile(markdown_passages(page.read_text(encoding="utf-8"), tables=False)) <= WELL_BELOW


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_docstrings_have_short_sentences_in_the_words_of_the_field(module):
    assert list(faults_of_module(module.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_messages_of_errors_have_short_clauses_in_the_words_of_the_field(module):
    """A semicolon ends a clause: what is wrong; the way out."""
    texts = messages(module.read_text(encoding="utf-8"))
    assert list(faults(clause for text in texts for clause in text.split(";"))) == []


def test_messages_are_read_with_their_values_as_words():
    source = 'def f(x):\n    msg = f"{x!r} is " + "bad; give another"\n    raise ValueError(msg)\n'
    assert list(messages(source)) == ["Value is ", "bad; give another"]
    assert list(messages('raise KeyError(f"no {x} here") from None')) == ["no Value here"]


def test_docstrings_of_variables_are_read_too():
    source = '"""Module."""\nX = 1\n"""What it is."""\n\ndef f():\n    """Do it."""\n    return "text"\n'
    assert list(docstrings(source)) == [
        ("module", False, "Module."), ("module", False, "What it is."), ("f", True, "Do it."),
    ]  # fmt: skip


def test_the_words_of_the_list_are_found_outside_of_code_only():
    assert home_made_in("The dearest search is run in vain.") == [
        "'dear(er|est)?': write expensive",
        "'in vain': write without effect",
    ]
    assert home_made_in("`in vain` is code, and a dearth is no dear one's word: read on.") == [
        "'dear(er|est)?': write expensive"
    ]
    assert home_made_in("A sentence may be broken in\n    vain.") == ["'in vain': write without effect"]


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        ("One. Two? Three!", ["One", "Two", "Three!"]),
        ("Version 3.11 takes 0.5 s. Then it ends.", ["Version 3.11 takes 0.5 s", "Then it ends."]),
        (
            "Hung et al. (2025) differ, e.g. in tokens. So do we.",
            ["Hung et al (2025) differ, e.g in tokens", "So do we."],
        ),
        ("Call `a. B`. `c` follows.", ["Call Code", "Code follows."]),
        ("See https://a.org/b.c. It is [a link. Or two](x.md).", ["See Address", "It is a link", "Or two."]),
        ("It ends. vLLM goes on.", ["It ends", "vLLM goes on."]),
        ("At 32, 64, ... tokens it stops.", ["At 32, 64, ... tokens it stops."]),
        ('He said "yes." Then (no.) And **so.** On.', ['He said "yes', "Then (no", "And **so", "On."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(passage, expected):
    assert sentences(passage) == expected


def test_a_value_with_its_interval_is_one_word():
    assert len(words("It gains +0.08 [+0.05, +0.12] and 0.40 ± 0.10 - no more.")) == 7


def test_passages_of_a_page_are_its_headings_paragraphs_items_and_cells():
    page = (
        "# Title\n\nA text\nin two lines.\n\n```\ncode\n```\n\n- one\n  goes on\n- two\n\n| a | b |\n|--|-:|\n| c | |\n"
    )
    assert list(markdown_passages(page)) == ["# Title", "A text in two lines.", "one goes on", "two", "a", "b", "c"]
    assert list(markdown_passages(page, tables=False)) == ["# Title", "A text in two lines.", "one goes on", "two"]


def test_passages_of_a_docstring_are_its_paragraphs_and_described_names():
    text = """Draw tokens.

    A paragraph::

        code, which is not read

    Args:
        beams: Some beams,
            in order.
        tokens: At most so many.
    """
    assert list(docstring_passages(text)) == [
        "Draw tokens.", "A paragraph::", "Args:", "beams: Some beams, in order.", "tokens: At most so many.",
    ]  # fmt: skip


def test_functions_are_not_described_by_questions():
    assert list(faults_of_module('def known(x):\n    """Whether it is known."""\n')) == [
        "known: begins with 'Whether'; begin with a verb or a noun phrase"
    ]
    assert list(faults_of_module('class Known:\n    """What is known."""\n')) == []


def test_a_sentence_of_more_than_25_words_is_a_fault():
    assert list(faults([" ".join(["word"] * 25) + "."])) == []
    assert list(faults([" ".join(["word"] * 26) + "."])) == [f"26 words: {' '.join(['word'] * 26)}."]
