"""Searches compared on the same prompts at equal cost.

Read `comparison.py` first. `runs.py` is one run of a comparison, `records.py` the line that it leaves, and
`journal.py` the file of these lines. The folder `datasets` holds sets of prompts, `statistics` the numbers, and
`reporting` the tables, plots and files. `compare` runs a `Comparison` and returns a `Report`.

The names below are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.evaluation.comparison import Comparison, acompare, compare
    from langchain_darwin.evaluation.datasets.alpaca_eval import write_model_outputs
    from langchain_darwin.evaluation.datasets.ifeval import PartialScore, StrictAccuracy
    from langchain_darwin.evaluation.datasets.mt_bench import write_model_answers
    from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet, load_prompts
    from langchain_darwin.evaluation.records import Answer, Cost, Failure, Record, Records, read_records
    from langchain_darwin.evaluation.reporting.answer_files import write_answers
    from langchain_darwin.evaluation.reporting.report import Report, make_report
    from langchain_darwin.evaluation.reporting.report_files import write_plot, write_report
    from langchain_darwin.evaluation.reporting.tables import markdown
    from langchain_darwin.evaluation.statistics.intervals import Interval, bootstrap

__all__ = [
    "Answer",
    "Comparison",
    "Cost",
    "Failure",
    "Interval",
    "PartialScore",
    "Prompt",
    "PromptSet",
    "Record",
    "Records",
    "Report",
    "StrictAccuracy",
    "acompare",
    "bootstrap",
    "compare",
    "load_prompts",
    "make_report",
    "markdown",
    "read_records",
    "write_answers",
    "write_model_answers",
    "write_model_outputs",
    "write_plot",
    "write_report",
]

_HOMES = {
    "Answer": "records",
    "Comparison": "comparison",
    "Cost": "records",
    "Failure": "records",
    "Interval": "statistics.intervals",
    "PartialScore": "datasets.ifeval",
    "Prompt": "datasets.prompts",
    "PromptSet": "datasets.prompts",
    "Record": "records",
    "Records": "records",
    "Report": "reporting.report",
    "StrictAccuracy": "datasets.ifeval",
    "acompare": "comparison",
    "bootstrap": "statistics.intervals",
    "compare": "comparison",
    "load_prompts": "datasets.prompts",
    "make_report": "reporting.report",
    "markdown": "reporting.tables",
    "read_records": "records",
    "write_answers": "reporting.answer_files",
    "write_model_answers": "datasets.mt_bench",
    "write_model_outputs": "datasets.alpaca_eval",
    "write_plot": "reporting.report_files",
    "write_report": "reporting.report_files",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
