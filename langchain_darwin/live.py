"""A live view of one search in the terminal: feed it as `on_search_event`.

    with LiveView(policy.codec.decode) as view:
        ChatDarwin(model=policy, on_search_event=view).invoke("...")

On a terminal it redraws a panel; elsewhere (a pipe, a log, a dumb terminal) it prints one line a round. Text
of the model is shown as plain text: it can neither style the view nor drive the terminal.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from types import TracebackType
from typing import Self

from rich.cells import cell_len, chop_cells
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_darwin.search.base import (
    Beam,
    CycleStarted,
    Event,
    Finished,
    Grown,
    GrowthStarted,
    Mutated,
    Remark,
    Replaced,
    Scored,
    Started,
    TokensDrawn,
)

BAR = 10  # characters of a reward bar
# Anything that could move the cursor, hide or reorder text; white space is dealt with apart.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text without anything that could drive a terminal; on one line, unless `lines` are kept."""
    if not lines:
        return _CONTROLS.sub("", " ".join(text.split()))
    return "\n".join(_CONTROLS.sub("", line.replace("\t", "    ")) for line in re.split("\r\n|\r|\n", text))


def bar(value: float | None, low: float, high: float, width: int = BAR) -> Text:
    """A bar for `value` between the lowest and the highest reward seen."""
    if value is None:
        return Text("·" * width, style="dim")
    share = 1.0 if high <= low else (value - low) / (high - low)
    full = max(1, round(share * width))
    return Text("█" * full, style="green" if share > 2 / 3 else "yellow" if share > 1 / 3 else "red") + Text(
        "░" * (width - full), style="dim"
    )


def tail(text: str, width: int) -> str:
    """The end of a text, at most `width` terminal cells of it."""
    if cell_len(text) <= width:
        return text
    end = chop_cells(text[::-1], max(1, width - 1))[0]
    return "…" + end[::-1]


def head(text: str, width: int) -> str:
    """The beginning of a text, at most `width` terminal cells of it."""
    return text if cell_len(text) <= width else chop_cells(text, max(1, width - 1))[0] + "…"


@dataclass
class Slot:
    """A place in the round, held by one beam after another.

    Attributes:
        beam: Who holds it, as last heard of.
        drawn: Tokens since then.
        origin: What happened to it last, for people.
    """

    beam: Beam
    drawn: list[int] = field(default_factory=list)
    origin: str = ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens so far."""
        return (*self.beam.tokens, *self.drawn)

    @property
    def state(self) -> str:
        """Whether it is still being written."""
        return {None: "", "stop": "finished", "length": "full length", "timeout": "cut off"}[self.beam.finish]


@dataclass
class Progress:
    """What a search has done so far, gathered from its events.

    Attributes:
        slots: The places of the current cycle.
        best: The complete answer with the highest reward so far.
        low: Lowest reward seen.
        high: Highest reward seen.
    """

    search: str = ""
    instruction: str = ""
    cycle: int | None = None
    cycles: int | None = None
    round: int = 0
    doing: str = "starting"
    remark: str = ""
    slots: list[Slot] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    best: Beam | None = None
    low: float = 0.0
    high: float = 0.0
    decoded: int = 0
    growing: int = 0
    stopped: str | None = None
    _judged: bool = False

    @property
    def tokens(self) -> int:
        """Tokens decoded, those of the step under way included."""
        return self.decoded + self.growing

    @singledispatchmethod
    def note(self, event: Event) -> None:
        """Take an event into account."""

    @note.register
    def _start(self, event: Started) -> None:
        self.search = str(event.search.get("search", ""))
        self.cycles, self.instruction = event.search.get("cycles"), event.instruction

    @note.register
    def _cycle(self, event: CycleStarted) -> None:
        self.cycle, self.slots, self.doing = event.cycle, [], "rewriting the instruction"

    @note.register
    def _mutated(self, event: Mutated) -> None:
        why = [reason for reason in event.fallbacks if reason]
        made = len(event.fallbacks) - len(why)
        self.remark = f"{made} of {len(event.fallbacks)} instructions rewritten"
        if why:
            self.remark += f"; the others stay as they were ({why[0]})"

    @note.register
    def _growing(self, event: GrowthStarted) -> None:
        self.growing = 0
        asides = all(beam.aside for beam in event.beams)
        self.doing = "rewriting the instruction" if asides else "writing"
        self._seat(event.beams)

    @note.register
    def _draw(self, event: TokensDrawn) -> None:
        self.growing += len(event.tokens)
        for slot in self.slots:
            if slot.beam.id == event.beam:
                slot.drawn += event.tokens

    @note.register
    def _grown(self, event: Grown) -> None:
        self.decoded, self.growing = self.decoded + event.decoded, 0
        if not all(beam.aside for beam in event.beams):
            self.round, self.replaced, self.doing = self.round + 1, [], "judging"
            self._seat(event.beams)

    @note.register
    def _scored(self, event: Scored) -> None:
        self._seat(event.beams)
        rewards = [beam.reward for beam in event.beams if beam.reward is not None]
        if rewards:
            self.low = min(*rewards, self.low) if self._judged else min(rewards)
            self.high = max(*rewards, self.high) if self._judged else max(rewards)
            self._judged = True
        for beam in event.beams:
            if beam.complete and beam.reward is not None and beam.reward > _reward(self.best):
                self.best = beam

    @note.register
    def _replace(self, event: Replaced) -> None:
        self.replaced.append(event)
        held = {slot.beam.id: slot.beam for slot in self.slots}
        for slot in self.slots:
            if slot.beam.id == event.receiver:
                donor = held.get(event.donor, slot.beam)
                slot.beam = replace(donor, id=event.beam, parent=event.donor, finish=None)
                slot.origin = f"copied from {event.donor} over {event.receiver}"

    @note.register
    def _remark(self, event: Remark) -> None:
        self.remark = event.text

    @note.register
    def _finish(self, event: Finished) -> None:
        self.doing, self.best, self.stopped = "done", event.outcome.best, event.stopped

    def _seat(self, beams: Iterable[Beam]) -> None:
        """Give each beam its slot; what is decoded beyond the round for the reward to see has none."""
        slots = {slot.beam.id: slot for slot in self.slots}
        for beam in beams:
            if beam.id in slots:
                slots[beam.id].beam, slots[beam.id].drawn = beam, []
            elif not beam.aside and beam.parent not in slots:
                self.slots.append(Slot(beam))


def _reward(beam: Beam | None) -> float:
    return float("-inf") if beam is None or beam.reward is None else beam.reward


class LiveView:
    """Shows a search while it runs. Call it with every event; use it as a context manager.

    Attributes:
        progress: What the search has done so far.
        watch_tokens: Asks for `TokensDrawn`, so that text shows as it is written.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], console: Console | None = None, *, title: str = ""
    ) -> None:
        """Prepare a view.

        Args:
            decode: Token ids to text: `policy.codec.decode`.
            console: Where to draw. Default: standard error, so that answers can be piped.
            title: Heading of the panel. Default: the search's name.
        """
        self.console = console or Console(stderr=True)
        self.progress = Progress()
        self.watch_tokens = self.console.is_terminal and not self.console.is_dumb_terminal
        self._decode, self._title = decode, title
        self._lock, self._started, self._ended = threading.Lock(), time.monotonic(), 0.0
        self._told = 0
        self._live = (
            Live(get_renderable=self.render, console=self.console, refresh_per_second=4) if self.watch_tokens else None
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._started = time.monotonic()
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state and leave it on the screen."""
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        with self._lock:
            if isinstance(event, Started):
                self._started = time.monotonic()
            if self._live is None and isinstance(event, Grown | CycleStarted | Finished):
                self._tell_round()
            self.progress.note(event)
            if isinstance(event, Finished):
                self._ended = time.monotonic()
            if self._live is None:
                self._tell(event)

    @property
    def seconds(self) -> float:
        """Since the search began, until it ended."""
        return (self._ended or time.monotonic()) - self._started

    def render(self) -> RenderableType:
        """The view as it stands."""
        with self._lock:
            return self._panel(self.console.width, self.console.height)

    def _panel(self, width: int, height: int) -> Panel:
        inner, slots = width - 4, self.progress.slots
        one_line = 2 * len(slots) + 7 > height
        question = Text(head(printable(self.progress.instruction), inner), style="bold")
        lines: list[RenderableType] = [question, self._status()]
        for slot in slots:
            lines += self._slot_lines(slot, inner, one_line=one_line)
        lines.append(self._best(inner))
        title = Text(self._title or self.progress.search or "search", style="bold cyan")
        return Panel(Group(*lines), title=title, title_align="left", border_style="cyan", width=width)

    def _status(self) -> Text:
        now = self.progress
        rate = now.tokens / max(self.seconds, 1e-9)
        parts = [now.doing if not now.stopped else f"done ({now.stopped})"]
        if now.cycle is not None:
            parts.append(f"cycle {now.cycle}" + (f" of {now.cycles}" if now.cycles else ""))
        parts += [
            f"round {now.round}",
            f"{now.tokens} tokens",
            f"{rate:.0f} tokens/s",
            f"{self.seconds:.1f} s",
        ]
        return Text(" · ".join(parts), style="dim", no_wrap=True, overflow="ellipsis")

    def _slot_lines(self, slot: Slot, width: int, *, one_line: bool) -> list[RenderableType]:
        now, beam = self.progress, slot.beam
        reward = "   …" if beam.reward is None else f"{beam.reward:.2f}"
        is_best = now.best is not None and beam.id == now.best.id
        row = Table.grid(padding=(0, 1))
        cells = [
            Text(f"{beam.id:>3}", style="bold green" if is_best else "bold"),
            bar(beam.reward, now.low, now.high),
            Text(f"{reward:>7}"),
        ]
        newest = printable(self._decode(slot.tokens))
        if one_line:
            row.add_row(*cells, Text(tail(newest, width - 24), no_wrap=True))
            return [row]
        about = " · ".join(filter(None, [f"{len(slot.tokens)} tokens", slot.state, slot.origin]))
        wording = "" if beam.instruction == now.instruction else f"“{printable(beam.instruction)}”"
        room = max(0, width - 26 - cell_len(about))
        row.add_row(*cells, Text(about, style="cyan"), Text(head(wording, room) if room > 12 else "", style="dim"))
        return [row, Text("    " + tail(newest, width - 4), no_wrap=True)]

    def _best(self, width: int) -> Text:
        now = self.progress
        if now.doing == "done" and now.best is not None:
            reward = "not judged" if now.best.reward is None else f"reward {now.best.reward:.2f}"
            return Text(f"answer: beam {now.best.id}, {reward}", style="bold green")
        if now.best is not None:
            return Text(
                f"best finished answer so far: beam {now.best.id}, reward {now.best.reward:.2f}",
                style="green",
            )
        return Text(head(printable(now.remark), width), style="dim")

    def _tell(self, event: Event) -> None:
        now = self.progress
        if isinstance(event, Started):
            self._print(f"{self._title or now.search}: {printable(event.instruction)}")
        elif isinstance(event, Mutated | Remark):
            self._print(f"  {printable(now.remark)}")
        elif isinstance(event, Finished) and now.best is not None:
            self._print(f"{self._status().plain}; {self._best(80).plain}")

    def _tell_round(self) -> None:
        """One line for the round that has just ended, once."""
        now = self.progress
        if now.round == self._told or not now.slots:
            return
        self._told = now.round
        best = max((slot.beam for slot in now.slots), key=_reward)
        rewards = " ".join("…" if slot.beam.reward is None else f"{slot.beam.reward:.2f}" for slot in now.slots)
        copies = ", ".join(f"{event.receiver} by {event.beam}, a copy of {event.donor}" for event in now.replaced)
        line = f"  round {now.round}, {self.seconds:.1f} s: rewards {rewards}"
        line += f"; replaced {copies}" if copies else ""
        self._print(line)
        self._print(f"    {best.id}: {tail(printable(self._decode(best.tokens)), 72)}")

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)
