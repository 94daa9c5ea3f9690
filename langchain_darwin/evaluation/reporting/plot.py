"""A report as a picture: reward and gold against policy tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import MissingDependencyError
from langchain_darwin.evaluation.reporting.report import Report, ReportRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X<>"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")  # Okabe and Ito's

_ASIDE = 0.02  # of the axis


def save_plot(report: Report, path: Path) -> None:
    """Draw two panels, reward and gold, into an image file.

    The line is Best-of-N made of the pool. A search is a point; its bar is the 95 % interval of its paired difference
    to Best-of-N at equal policy tokens, drawn around the point. Points are moved apart sideways, by 2 % of the axis at
    most.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        msg = "the plot needs matplotlib; pip install 'langchain-darwin[eval]'"
        raise MissingDependencyError(msg) from error
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels: Any = figure.subplots(1, 2)
    for measure, axes in zip(("reward", "gold"), panels, strict=True):
        _panel(axes, report, measure)
    names = report.header["names"]
    figure.suptitle(
        f"{report.prompts} prompts of {names['prompts']}, guided by {names['reward']}. "
        "Bars: 95 % intervals of the paired difference to Best-of-N at equal policy tokens",
        fontsize=10,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def _panel(axes: Axes, report: Report, measure: str) -> None:
    means = [getattr(point, measure) for point in report.curve]
    tokens = [point.tokens for point in report.curve]
    axes.plot(tokens, [found.mean for found in means], color="black", linewidth=1.5, label="Best-of-N, N from the pool")
    for point, found in zip(report.curve, means, strict=True):
        axes.annotate(str(point.n), (point.tokens, found.mean), (3, -10), textcoords="offset points", fontsize=7)
    widest = max([*tokens, *(row.cost["decoded"] for row in report.rows)], default=0.0)
    for place, row in enumerate(report.rows):
        aside = widest * _ASIDE * ((2 * place + 1) / len(report.rows) - 1)  # those of equal cost would hide one another
        _point(axes, row, measure, place, aside)
    axes.set_xlim(left=0)
    axes.set_xlabel("policy tokens a prompt")
    axes.set_ylabel(f"{measure}: {report.header['names'][measure]}")
    axes.grid(visible=True, alpha=0.25)


def _point(axes: Axes, row: ReportRow, measure: str, place: int, aside: float) -> None:
    mean, difference = getattr(row, measure).mean, getattr(row.equal_tokens, measure)
    bars = [[difference.mean - difference.low], [difference.high - difference.mean]]
    axes.errorbar(
        row.cost["decoded"] + aside,
        mean,
        yerr=bars,
        fmt=_MARKERS[place % len(_MARKERS)],
        color=_COLOURS[place % len(_COLOURS)],
        capsize=3,
        label=row.label,
    )
