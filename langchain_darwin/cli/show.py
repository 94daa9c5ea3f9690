"""`langchain-darwin show`: recorded searches as trees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langchain_darwin.cli.boundary import Debug, plain_errors

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from langchain_darwin.search.base import Beam
    from langchain_darwin.trace import Trace


_FACTS = ("model", "reward", "seed")


def show(
    path: Annotated[Path, typer.Argument(help="A file that `ask --trace` or ChatDarwin(trace=...) wrote.")],
    *,
    run: Annotated[str | None, typer.Option(help="Only this run: its number from 1, or its id. Default: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Print whole texts, not one line of each.")] = False,
    debug: Debug = False,
) -> None:
    """Print recorded searches as trees: who was copied from whom, with which reward and text."""
    with plain_errors(debug=debug):
        from rich.console import Console

        from langchain_darwin.trace import read_trace

        console = Console()
        runs = read_trace(path)
        chosen = [(number, trace) for number, trace in enumerate(runs, 1) if run in (None, str(number), trace.run)]
        if run is not None and not chosen:
            raise _no_run(path, run, [trace.run for trace in runs])
        if not runs:
            typer.echo(f"{path} holds no searches", err=True)
        for number, trace in chosen:
            _show(console, trace, f"run {number} of {len(runs)}, {trace.run}", full=full)


def _no_run(path: Path, run: str, known: list[str]) -> Exception:
    from langchain_darwin.errors import ConfigurationError

    names = f"1 to {len(known)}, or {', '.join(known)}" if known else "none"
    return ConfigurationError(f"--run {run!r} is not in {path}, which holds these: {names}")


def _show(console: Console, trace: Trace, name: str, *, full: bool) -> None:
    from rich.text import Text

    console.print(_heading(trace, name), soft_wrap=True)
    console.print(_Drawing(trace, console.width, full=full).tree())
    cost = ", ".join(f"{count} {kind}" for kind, count in trace.cost.items())
    console.print(Text(f"{trace.seconds:.1f} s; tokens and texts: {cost}", style="dim"))
    for note in [*([f"failed: {trace.error}"] if trace.error else []), *trace.notes]:
        console.print(_plain(note, style="red"))
    if trace.outcome:
        best = trace.outcome.best
        console.print(Text(f"Answer (beam {best.id}{_reward(best)}):", style="bold green"))
        console.print(_plain(trace.text(best), lines=True))
    console.print()


def _heading(trace: Trace, name: str) -> Text:
    header = trace.header
    search = ", ".join(f"{key}={value}" for key, value in header["search"].items() if key != "search")
    heading = _plain(f"{header['search']['search']}({search})\n", style="bold cyan", lines=True)
    facts = f"{name} · {header['time']} · " + " · ".join(f"{key} {header[key]}" for key in _FACTS)
    return heading.append_text(_plain(facts, style="dim"))


class _Drawing:
    """One trace as a rich tree."""

    def __init__(self, trace: Trace, width: int, *, full: bool) -> None:
        self.trace, self.width, self.full = trace, width, full
        self.copied_at = {
            event.beam: donor
            for done in trace.rounds
            for event in done.replaced
            for donor in done.beams
            if donor.id == event.donor
        }
        self.winner = trace.outcome.best.id if trace.outcome else None
        self.given_up = {event.receiver for event in trace.replacements.values()}

    def tree(self) -> Tree:
        """The question, its cycles, their beams, and below each beam its copies."""
        from rich.tree import Tree

        from langchain_darwin.search.base import CycleStarted

        cycles = {event.cycle: event.instruction for event in self.trace.events if isinstance(event, CycleStarted)}
        tree = Tree(_plain(self._question(), style="bold"), guide_style="dim")
        branches = {
            number: tree.add(_plain(f"cycle {number}: from “{self._cut(text, self.width - 24)}”", style="cyan"))
            for number, text in cycles.items()
        }
        born = self._cycle_of_each_beam()
        for root in self.trace.roots:
            self._add(branches.get(born.get(root.id, 0), tree), root)
        return tree

    def _question(self) -> str:
        turns = self.trace.header["conversation"]
        return next((str(turn.get("content")) for turn in reversed(turns) if turn.get("role") == "user"), "")

    def _cycle_of_each_beam(self) -> dict[int, int]:
        born: dict[int, int] = {}
        for done in self.trace.rounds:
            for beam in done.beams:
                born.setdefault(beam.id, done.cycle or 0)
        return born

    def _add(self, tree: Tree, beam: Beam, depth: int = 2) -> None:
        branch = tree.add(self._label(beam, self.width - 4 * depth - 3))
        for child in self.trace.children(beam):
            self._add(branch, child, depth + 1)

    def _label(self, beam: Beam, width: int) -> Text:
        from rich.text import Text

        label = Text(f"{beam.id}{_reward(beam)}", style="bold green" if beam.id == self.winner else "bold")
        label.append(f" · {self._fate(beam)}", style="cyan")
        if self._instruction_is_news(beam):
            label.append_text(_plain(f"\n“{self._cut(beam.instruction, width)}”", style="magenta", lines=True))
        text = self._own_text(beam, width)
        return label.append_text(_plain("\n" + text, lines=True)) if text else label

    def _fate(self, beam: Beam) -> str:
        parts = []
        if beam.id in self.copied_at:
            event = self.trace.replacements[beam.id]
            at = len(self.copied_at[beam.id].tokens)
            parts.append(f"over {event.receiver} at token {at}")
        parts.append(f"{len(beam.tokens)} tokens")
        if beam.id in self.given_up:
            parts.append("given up")
        elif beam.finish:
            parts.append({"stop": "finished", "length": "full length", "timeout": "cut off"}[beam.finish])
        if beam.id == self.winner:
            parts.append("the answer")
        return " · ".join(parts)

    def _instruction_is_news(self, beam: Beam) -> bool:
        donor = self.copied_at.get(beam.id)
        return beam.instruction != (donor.instruction if donor else self._question())

    def _own_text(self, beam: Beam, width: int) -> str:
        """Return what the beam wrote itself, after it was copied."""
        donor = self.copied_at.get(beam.id)
        text = self.trace.text(beam)
        own = text[len(self.trace.text(donor)) :] if donor else text
        return own.strip() if self.full else self._cut(own, width)

    def _cut(self, text: str, width: int) -> str:
        from langchain_darwin.live.text import head, printable

        return head(printable(text), max(20, width))


def _reward(beam: Beam) -> str:
    return "" if beam.reward is None else f" · reward {beam.reward:.3f}"


def _plain(text: str, style: str = "", *, lines: bool = False) -> Text:
    """Text of unknown origin: no markup, nothing that drives a terminal."""
    from rich.text import Text

    from langchain_darwin.live.text import printable

    return Text(printable(text, lines=lines), style=style)
