"""Committed text: what is streamed is certain, and all of it is streamed."""

from __future__ import annotations

from langchain_darwin.chat.streaming import CommittedText
from langchain_darwin.search.base import Beam, Grown, GrowthStarted, Scored, TokensDrawn
from langchain_darwin.testing import WordCodec

CODEC = WordCodec()


def ids(text):
    return CODEC.encode_text(text)


def beam(ident, text="", **facts):
    return Beam(ident, "", (1,), tokens=ids(text), **facts)


def follow(*events, stop=()):
    """The pieces that a stream hands out."""

    def text(beam):
        said = CODEC.decode(beam.tokens)
        return min((said[: said.find(s)] for s in stop if s in said), key=len, default=said)

    committed = CommittedText(text, stop)
    pieces = [committed.feed(event) for event in events]
    return [piece for piece in pieces if piece], committed


def drawn(ident, text):
    return TokensDrawn(ident, ids(text))


def test_one_beam_is_streamed_token_by_token():
    pieces, _ = follow(GrowthStarted((beam(0),), last_roots=True), drawn(0, "The"), drawn(0, " sea"))
    assert pieces == ["The", " sea"]


def test_nothing_is_certain_while_fresh_beams_may_follow():
    pieces, committed = follow(GrowthStarted((beam(0),), last_roots=False), drawn(0, "The"))
    assert (pieces, committed.committed) == ([], "")


def test_two_beams_commit_what_they_share():
    pieces, committed = follow(
        GrowthStarted((beam(0), beam(1)), last_roots=True),
        drawn(0, "The sea"),
        drawn(1, "The"),
        drawn(1, " sky"),
    )
    assert (pieces, committed.committed) == (["The"], "The")


def test_beams_that_come_from_one_donor_commit_its_text():
    donor = beam(2, "The old sea")
    pieces, _ = follow(
        GrowthStarted((beam(0), beam(1)), last_roots=True),
        Grown((beam(0, "A"), donor), 0, 0, 0, 0.0),
        GrowthStarted((donor, beam(3, "The old sea")), last_roots=True),
    )
    assert pieces == ["The old sea"]


def test_a_finished_beam_stays_in_the_running_while_it_is_the_best():
    good, bad = beam(0, "The end", finish="stop", reward=2.0), beam(1, "No", finish="stop", reward=1.0)
    live = beam(2, "The sea")
    pieces, _ = follow(Scored((good, bad, live), 3, 0.0), GrowthStarted((live,), last_roots=True))
    assert pieces == ["The"]


def test_what_may_become_a_stop_string_is_held_back():
    pieces, committed = follow(
        GrowthStarted((beam(0),), last_roots=True),
        drawn(0, "yes"),
        drawn(0, "\n\n"),
        drawn(0, "END"),
        stop=["\n\nEND"],
    )
    assert (pieces, committed.committed) == (["yes"], "yes")


def test_asides_are_no_answers():
    aside = Beam(0, "", (1,), aside=True)
    pieces, _ = follow(GrowthStarted((aside,), last_roots=True), drawn(0, "The"))
    assert pieces == []
