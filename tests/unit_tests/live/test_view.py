import io
import re

import pytest
from rich.console import Console

from langchain_darwin import ChatDarwin
from langchain_darwin.live import LiveView, Progress, bar, head, printable, tail
from langchain_darwin.search.base import (
    Beam,
    CycleStarted,
    Finished,
    Grown,
    GrowthStarted,
    Mutated,
    Outcome,
    Remark,
    Replaced,
    Scored,
    Started,
    TokensDrawn,
)
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.testing import WORDS, ScriptedPolicy, WordCodec, keyword_reward

CODEC = WordCodec()
NASTY = "\x1b[2J[bold]markup[/bold]\u202e\x07 fine\rtext"


def console(*, terminal, width=80, height=24):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, height=height, color_system="truecolor")


def shown(view):
    """The panel as plain text."""
    paper = Console(file=io.StringIO(), width=view.console.width)
    paper.print(view.render())
    return paper.file.getvalue()


def beam(ident, text="", **facts):
    return Beam(ident, facts.pop("instruction", "Why?"), (1,), CODEC.encode_text(text), **facts)


def grown(*beams, decoded=0):
    return Grown(beams, 0, decoded, 0, 0.1)


def watched(*events, **size):
    view = LiveView(CODEC.decode, console(terminal=True, **size))
    for event in (Started({"search": "Darwin", "cycles": 2}, 0, "Why?", 3), *events):
        view(event)
    return view


def test_a_panel_shows_each_beam_with_its_reward_and_newest_text():
    view = watched(
        CycleStarted(1, "Why?", ("Why?",)),
        grown(beam(0, "Because it is"), beam(1, "Nobody knows", instruction="How come, exactly?"), decoded=5),
        Scored((beam(0, "Because it is", reward=0.5), beam(1, "Nobody knows", reward=-1.0)), 2, 0.0),
    )
    text = shown(view)
    assert re.search(r"0 █{10}\s+0.50 3 tokens", text)
    assert re.search(r"1 █░{9}\s+-1.00 2 tokens", text)
    assert "Because it is" in text
    assert "cycle 1 of 2 · round 1 · 5 tokens" in text
    assert max(map(len, text.splitlines())) == 80


def test_rewritten_instructions_are_shown_shortened():
    rewritten = beam(1, "So", instruction="How come, " * 20)
    assert "“How come, How come" in shown(watched(CycleStarted(1, "Why?", ()), grown(beam(0, "So"), rewritten)))


def test_a_replacement_says_what_took_whose_place():
    progress = watched(
        grown(beam(0, "good"), beam(1, "bad")),
        Replaced(1, 0, 2, 3.0),
        grown(beam(0, "good one"), beam(2, "good two", parent=0)),
    ).progress
    assert [slot.beam.id for slot in progress.slots] == [0, 2]
    assert progress.slots[1].origin == "copied from 0 over 1"


def test_tokens_show_while_they_are_drawn():
    view = watched(
        GrowthStarted((beam(0, "one"),), last_roots=True),
        TokensDrawn(0, CODEC.encode_text(" two")),
        TokensDrawn(9, (5,)),
    )
    assert "one two" in shown(view)
    assert view.progress.tokens == 2


def test_look_ahead_and_asides_take_no_place():
    aside = beam(7, "How come?", aside=True)
    ahead = beam(2, "one two three", parent=0)
    progress = watched(grown(aside), grown(beam(0, "one")), grown(ahead)).progress
    assert [slot.beam.id for slot in progress.slots] == [0]
    assert progress.round == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_text_of_the_model_cannot_drive_the_terminal(terminal):
    view = LiveView(CODEC.decode, console(terminal=terminal))
    answer = beam(0, NASTY, reward=1.0, finish="stop", instruction=NASTY)
    for event in (
        Started({"search": "Darwin"}, 0, NASTY, 3),
        Mutated(1, (NASTY,), (NASTY,)),
        Remark(NASTY),
        grown(answer),
        Scored((answer,), 1, 0.0),
        Finished(Outcome((answer,)), None),
    ):
        view(event)
    text = shown(view) if terminal else view.console.file.getvalue()
    assert "[bold]markup[/bold] fine text" in text
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)


def test_without_a_terminal_there_is_a_line_for_each_round():
    out = console(terminal=False)
    with LiveView(CODEC.decode, out) as view:
        assert not view.watch_tokens
        search = Darwin(beams=4, period=10, keep=2, mutation="none")
        model = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward(*WORDS[:3]), search=search, seed=1)
        ChatDarwin(**{**dict(model), "on_search_event": view}).invoke("Tell me")
    text = out.file.getvalue()
    assert len(re.findall(r"^  round \d+, ", text, re.MULTILINE)) == view.progress.round
    assert "a copy of" in text
    assert text.splitlines()[0] == "Darwin: Tell me"
    assert re.search(r"done · .* answer: beam \d+, reward \d", text)


def test_on_a_terminal_the_last_state_stays():
    out = console(terminal=True)
    with LiveView(CODEC.decode, out) as view:
        ChatDarwin(
            model=ScriptedPolicy(),
            reward=keyword_reward(*WORDS[:3]),
            search=Darwin(beams=3, keep=2, cycles=1),
            on_search_event=view,
            seed=1,
        ).invoke("Tell me")
    assert view.watch_tokens
    assert "answer: beam" in out.file.getvalue()


def test_many_beams_fit_by_one_line_each():
    many = watched(grown(*(beam(i, f"text {i}") for i in range(15))))
    assert len(shown(many).splitlines()) <= 24


def test_the_seconds_stand_still_at_the_end():
    answer = beam(0, "So", finish="stop")
    view = watched(grown(answer), Finished(Outcome((answer,)), "timeout"))
    assert view.seconds == view.seconds
    assert "done (timeout)" in shown(view)
    assert "answer: beam 0, not judged" in shown(view)


def test_the_best_finished_answer_is_kept_over_cycles():
    progress = Progress()
    for one in (
        beam(0, "a", reward=2.0, finish="stop"),
        beam(1, "b", reward=1.0, finish="stop"),
        beam(2, "c", reward=3.0),
    ):
        progress.note(Scored((one,), 1, 0.0))
    assert progress.best.id == 0
    assert (progress.low, progress.high) == (1.0, 3.0)


@pytest.mark.parametrize("value", [None, -3.0, 0.0, 5.0])
def test_a_bar_is_always_as_wide(value):
    assert len(bar(value, -3.0, 5.0)) == len(bar(value, 2.0, 2.0)) == 10


@pytest.mark.parametrize("text", ["short", "a much longer text", "全角の文字はとても幅が広い", ""])
@pytest.mark.parametrize("width", [1, 2, 9, 40])
def test_cut_text_fits(text, width):
    for cut in (head(text, width), tail(text, width)):
        assert Console().measure(cut).maximum <= max(width, 2)
    assert head("abcdef", 4) == "abc…"
    assert tail("abcdef", 4) == "…def"


def test_printable_keeps_lines_if_asked():
    assert printable("a\tb\r\nc\x1b[0m\n", lines=True) == "a    b\nc[0m\n"
    assert printable("a\tb\r\nc\x1b[0m\n") == "a b c[0m"
