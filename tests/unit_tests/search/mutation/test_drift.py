"""The check that a rewriting kept to its instruction."""

from __future__ import annotations

import pytest

from langchain_darwin.search.mutation.drift import drift

KEPT = [
    ("How do I make a cake?", "What are the steps to bake a cake at home?"),
    ("How to make a cake?", "Provide a step-by-step guide to baking a delicious cake for beginners."),
    ("Where is Indonesia?", "In which part of the world is Indonesia?"),
    ("Give me 3 tips for learning the guitar.", "List three tips that help a beginner learn to play the guitar."),
    ("Write a poem without the letter e.", "Compose a short poem that does not use the letter e."),
    ('Use the word "Fiesta" in a poem.', "Please write a poem with the word 'Fiesta' in it."),
    ("Summarise https://example.org/a?b=1", "Please give me a summary, short and clear, of https://example.org/a?b=1"),
    ("Fill in [name] in `f(x)`.", "Please fill in [name] in the code `f(x)`."),
    ("Где находится Индонезия?", "Расскажи, где находится Индонезия?"),
    ("印度尼西亚在哪里?", "印度尼西亚位于哪里?"),
    ("Wo liegt Indonesien?", "In welchem Teil der Welt liegt Indonesien?"),
    ("Improve this prompt for a poem", "Make this prompt for a poem better"),
]

DRIFTED = [
    ("Where is Indonesia?", "Indonesia is a country in Southeast Asia.", "asks for nothing"),
    ("Where is Indonesia?", "Where is Malaysia?", "kept 0 of the 1 words"),
    ("Write a poem.", "Write a poem.\nRoses are red", "more lines"),
    ("Write a poem.", "Write a poem " + "about love " * 20, "words, the instruction 3"),
    ("Explain how the tides of the sea come about and why.", "Explain tides.", "it has 2 words"),
    ("Explain the tides.", "解释潮汐的成因和规律", "letters"),
    ("Give me 3 tips on sleep.", "Give me tips on better sleep.", "the number 3"),
    ("Give me three tips on sleep.", "Give me 5 tips on sleep.", "the number 3"),
    ("Write a story without magic.", "Write a story full of magic.", "lost a negation"),
    ("Write a story with magic.", "Write a story that doesn't have magic.", "negation of its own"),
    ('Say "hello" in Greek.', "How do I greet people in Greek?", 'lost "hello"'),
    ("Summarise https://example.org/a", "Summarise the page.", "lost https://example.org/a"),
    ("Explain `f(x)` to me.", "Explain the function to me.", "lost `f(x)`"),
    ("Write to [name] about rent.", "Write a letter about rent.", "lost [name]"),
    ("Write a poem.", "Rewrite the poem as asked in the instruction.", "speaks of rewriting"),
]


@pytest.mark.parametrize(("original", "rewriting"), KEPT)
def test_the_same_request_passes(original, rewriting):
    assert drift(original, rewriting) is None


@pytest.mark.parametrize(("original", "rewriting", "why"), DRIFTED)
def test_drift_is_named(original, rewriting, why):
    assert why in (drift(original, rewriting) or "it passed")
