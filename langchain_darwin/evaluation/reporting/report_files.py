"""The files that a report becomes."""

from __future__ import annotations

import json
from pathlib import Path

from langchain_darwin.evaluation.reporting.plot import save_plot
from langchain_darwin.evaluation.reporting.report import Report
from langchain_darwin.evaluation.reporting.tables import markdown


def write_report(report: Report, out: str | Path) -> list[Path]:
    """Write `report.json` (all numbers) and `report.md` (tables) into a folder; returns the files."""
    facts, page = Path(out) / "report.json", Path(out) / "report.md"
    facts.write_text(json.dumps(report.facts(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page.write_text(markdown(report), encoding="utf-8")
    return [facts, page]


def write_plot(report: Report, out: str | Path) -> Path:
    """Write `report.png`, reward and gold against policy tokens, into a folder; returns the file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    picture = Path(out) / "report.png"
    save_plot(report, picture)
    return picture
