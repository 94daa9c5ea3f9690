"""The view itself: a panel on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_darwin.live.progress import Progress, Slot, reward_of
from langchain_darwin.live.text import bar, head, printable, tail
from langchain_darwin.search.base import CycleStarted, Event, Finished, Grown, Mutated, Remark, Started


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
        """Return the view as it is now."""
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
        best = max((slot.beam for slot in now.slots), key=reward_of)
        rewards = " ".join("…" if slot.beam.reward is None else f"{slot.beam.reward:.2f}" for slot in now.slots)
        copies = ", ".join(f"{event.receiver} by {event.beam}, a copy of {event.donor}" for event in now.replaced)
        line = f"  round {now.round}, {self.seconds:.1f} s: rewards {rewards}"
        line += f"; replaced {copies}" if copies else ""
        self._print(line)
        self._print(f"    {best.id}: {tail(printable(self._decode(best.tokens)), 72)}")

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)
