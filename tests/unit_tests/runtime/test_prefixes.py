"""The common beginning of texts."""

import pytest

from langchain_darwin.runtime.prefixes import settled, shared_length


@pytest.mark.parametrize(
    ("texts", "length"),
    [
        ([], 0),
        (["sea"], 3),
        (["", "sea"], 0),
        (["sea", "seal", "sea"], 3),
        (["seal", "sea", "season"], 3),
        (["the sea", "the sky", "the sun"], 5),
        ([(1, 2, 3), (1, 2, 4), (1, 3)], 1),
        ([[7], [8]], 0),
    ],
)
def test_texts_share_their_beginning(texts, length):
    assert shared_length(*texts) == length


@pytest.mark.parametrize(
    ("text", "marks", "certain"),
    [
        ("abc", ["cde"], "ab"),
        ("abc", ["x", "bcd", "cd"], "a"),
        ("abc", ["abc"], "abc"),
        ("abc", ["c"], "abc"),
        ("abc", [], "abc"),
        ("", ["ab"], ""),
    ],
)
def test_an_ending_that_may_become_a_mark_is_not_settled(text, marks, certain):
    assert settled(text, marks) == certain
