"""A report as tables, for a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_darwin.evaluation.reporting.report import Difference, Report, ReportRow
from langchain_darwin.evaluation.statistics.intervals import Interval
from langchain_darwin.evaluation.statistics.paired import Paired

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_FAILURES = 10  # listed one by one


@dataclass(frozen=True)
class Table:
    """A table whose first column is text and whose others are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """As Markdown with a heading of the second level."""
        lines = [_markdown_row(row) for row in (self.headings, *self.rows)]
        lines.insert(1, f"|---|{'---:|' * (len(self.headings) - 1)}")
        notes = [note for text in self.notes for note in ("", text)]
        return "\n".join([f"## {self.title}", "", *lines, *notes])

    def rich(self) -> RenderableType:
        """For a terminal."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        style: Any = {"title_justify": "left", "title_style": "bold", "box": box.SIMPLE_HEAD, "pad_edge": False}
        table = RichTable(title=Text(self.title), **style)
        table.add_column(Text(self.headings[0]), overflow="fold", vertical="bottom")
        for heading in self.headings[1:]:
            table.add_column(Text(heading.replace(" ", "\n")), justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return Group(table, *(Text(note, style="dim") for note in self.notes), "")


def tables(report: Report) -> list[Table]:
    """Return tables of rewards, costs, differences to Best-of-N and to the first search, and Best-of-N itself."""
    held_against = [_equal_tokens(report), *_equal_seconds(report), *_to_first(report)]
    return [_reached(report), _costs(report), *held_against, _curve(report)]


def introduction(report: Report) -> list[str]:
    """Return what was compared on what, in sentences."""
    names, settings = report.header["names"], report.header["settings"]
    seeds = ", ".join(map(str, report.seeds))
    model, drawn = settings["policy"].get("model"), f"temperature {settings['temperature']:g}"
    compared = (
        f"{report.prompts} prompts of {names['prompts']}, seed{'s' * (len(report.seeds) > 1)} {seeds}. Model {model}, "
        f"{drawn}, top-k {settings['top_k']}, top-p {settings['top_p']:g}, at most {settings['max_tokens']} tokens an "
        f"answer. The searches are guided by the reward `{names['reward']}`; the gold, which none of them sees, is "
        f"`{names['gold']}`."
    )
    brackets = "Figures in brackets are 95 % bootstrap intervals over prompts, each prompt being the mean of its seeds."
    lines = [compared, brackets]
    if report.done < report.runs:
        lines.append(
            f"NOT FINISHED: {report.done} of {report.runs} runs are done; rows may rest on different prompts, and "
            "their means are then not comparable."
        )
    return lines


def markdown(report: Report) -> str:
    """The whole report as one Markdown page."""
    parts = ["# Searches compared", *introduction(report), *(table.markdown() for table in tables(report))]
    parts += ["## The searches", "\n".join(f"- {row.label}: `{_configuration(row)}`" for row in report.rows)]
    if failed := failures(report):
        parts += ["## Runs that failed", "\n".join(f"- {line}" for line in failed)]
    return "\n\n".join(parts) + "\n"


def _configuration(row: ReportRow) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in row.configuration.items() if name != "search")
    return f"{row.configuration['search']}({fields})"


def failures(report: Report) -> list[str]:
    """One line for each of the first failed runs, and how many more there are."""
    lines = [f"prompt {one.prompt}, {one.label}, seed {one.seed}: {one.error}" for one in report.failures]
    more = len(lines) - _MOST_FAILURES
    return lines[:_MOST_FAILURES] + [f"and {more} more in the records"] * (more > 0)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _reached(report: Report) -> Table:
    rows = [(row.label, str(row.prompts), _with_interval(row.reward), _with_interval(row.gold)) for row in report.rows]
    if report.curve:
        one = report.curve[0]
        rows.insert(0, ("one plain sample", "", _with_interval(one.reward), _with_interval(one.gold)))
    notes = ("One plain sample is the mean over all samples of the pool.",)
    return Table("What they reached", ("search", "prompts", "reward", "gold"), tuple(rows), notes)


_COSTS = {
    "policy tokens": "decoded",
    "prompt tokens": "prefilled",
    "answer tokens": "answer_tokens",
    "texts judged": "judged",
    "tokens judged": "judged_tokens",
    "reward seconds": "reward_seconds",
    "seconds": "seconds",
}


def _costs(report: Report) -> Table:
    explained = (
        "Means over prompts. Policy tokens are all that were drawn, rewritten instructions included; prompt tokens are "
        "those that the policy computed and did not have in memory. Tokens judged are those of the answers that went "
        "to the reward, as often as they went."
    )
    shared = f"Up to {report.at_once} runs shared the machine: seconds say little, and are not compared."
    notes = (explained, shared) if report.at_once > 1 else (explained,)
    rows = tuple((row.label, *(_amount(name, row.cost[name]) for name in _COSTS.values())) for row in report.rows)
    return Table("What they cost", ("search", *_COSTS), rows, notes)


def _amount(name: str, value: float) -> str:
    return f"{value:,.1f}" if "seconds" in name or value < 10 else f"{value:,.0f}"


def _equal_tokens(report: Report) -> Table:
    note = (
        "Search less Best-of-N, prompt by prompt. N samples have as many policy tokens as the search on that prompt. "
        f"N is between 1 and the {report.pool} samples of the pool."
    )
    found = [(row.label, row.equal_tokens) for row in report.rows]
    return _differences("Difference to Best-of-N at equal policy tokens", found, note)


def _equal_seconds(report: Report) -> list[Table]:
    note = "N is interpolated between the Best-of-N runs that were timed on that prompt, the pool among them."
    found = [(row.label, row.equal_seconds) for row in report.rows if row.equal_seconds]
    return [_differences("Difference to Best-of-N at equal seconds", found, note)] if found else []


def _to_first(report: Report) -> list[Table]:
    found = [(row.label, row.to_first) for row in report.rows if row.to_first]
    if not found:
        return []
    rows = tuple((label, f"{one.tokens:.2f}", *_signed(one)) for label, one in found)
    name = report.rows[0].label
    note = f"Search less {name}, prompt by prompt. Tokens are its policy tokens as a multiple of those of {name}."
    return [Table(f"Difference to {name}", ("search", "tokens", "reward", "gold"), rows, (note,))]


def _differences(title: str, found: Sequence[tuple[str, Difference]], note: str) -> Table:
    rows = tuple((label, f"{one.n:.1f}", *_signed(one)) for label, one in found)
    outside = [_outside(label, one) for label, one in found if one.above or one.below]
    return Table(title, ("search", "N", "reward", "gold"), rows, (note, *outside))


def _signed(found: Difference | Paired) -> tuple[str, str]:
    """The cells of reward and gold."""
    return _with_interval(found.reward, signed=True), _with_interval(found.gold, signed=True)


def _outside(label: str, found: Difference) -> str:
    """A sentence on runs whose cost no N has."""
    spent = ((found.above, "more than the greatest"), (found.below, "less than the least"))
    shares = [f"{_percent(share)} of its runs spent {what}" for share, what in spent if share]
    return f"{label}: {' and '.join(shares)} N there is, which then is the reference."


def _percent(share: float) -> str:
    return "under 1%" if share < 0.01 else f"{share:.0%}"


def _curve(report: Report) -> Table:
    rows = [
        (str(point.n), f"{point.tokens:,.0f}", _with_interval(point.reward), _with_interval(point.gold))
        for point in report.curve
    ]
    notes = (f"Expected over all subsets of the {report.pool} plain samples of each prompt and seed.",)
    return Table("Best-of-N from the pool", ("N", "policy tokens", "reward", "gold"), tuple(rows), notes)


def _with_interval(found: Interval, *, signed: bool = False) -> str:
    digits = _digits([found.mean, found.low, found.high])
    sign = "+" if signed else ""
    return f"{found.mean:{sign}.{digits}f} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def _digits(values: Sequence[float]) -> int:
    """Decimals for three significant figures of the largest, 3 at most."""
    largest = max(map(abs, values))
    return 3 if largest < 1 else max(0, 2 - math.floor(math.log10(largest)))
