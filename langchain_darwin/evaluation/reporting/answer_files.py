"""The answers of a comparison in the own formats of AlpacaEval and MT-Bench, for their judges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from langchain_darwin.evaluation.datasets.alpaca_eval import write_model_outputs
from langchain_darwin.evaluation.datasets.mt_bench import write_model_answers
from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet
from langchain_darwin.evaluation.records import ComparisonPlan, Record, Records, RunKey


def write_answers(prompts: PromptSet, records: Records, out: str | Path) -> list[Path]:
    """Write the answers of each search, if the prompts are AlpacaEval's or MT-Bench's.

    AlpacaEval takes one answer to a prompt: with several seeds there is a file for each. MT-Bench's files hold one
    choice for each seed; its own judge looks at the first.

    Args:
        prompts: Those of the comparison.
        records: What it has written down; unfinished prompts are left out.
        out: The files go into `alpaca_eval` or `mt_bench` in this folder.

    Returns:
        The files; none for other prompts, or if no search has answered.
    """
    if records.plan is None:
        return []
    searches = records.plan.searches.items()
    if prompts.name == "alpaca_eval":
        folder = Path(out) / "alpaca_eval"
        return [path for named in searches for path in _alpaca_eval(prompts, records, records.plan, named, folder)]
    if prompts.name == "mt_bench":
        folder = Path(out) / "mt_bench"
        return [path for named in searches for path in _mt_bench(prompts, records, records.plan, named, folder)]
    return []


def _alpaca_eval(
    prompts: PromptSet, records: Records, plan: ComparisonPlan, named: tuple[str, str], folder: Path
) -> Iterator[Path]:
    for seed in plan.seeds:
        name = _file_name(*named) + (f"-seed{seed}" if len(plan.seeds) > 1 else "")
        answers = [
            (prompt, found[0].answers[0].text) for prompt, found in _answered(prompts, records, named[1], (seed,))
        ]
        if answers:
            write_model_outputs(folder / f"{name}.json", named[0], answers)
            yield folder / f"{name}.json"


def _mt_bench(
    prompts: PromptSet, records: Records, plan: ComparisonPlan, named: tuple[str, str], folder: Path
) -> Iterator[Path]:
    choices = [
        (prompt, [[answer.text for answer in record.answers] for record in found])
        for prompt, found in _answered(prompts, records, named[1], plan.seeds)
    ]
    if choices:
        yield write_model_answers(folder, _file_name(*named), choices)


def _answered(
    prompts: PromptSet, records: Records, search: str, seeds: tuple[int, ...]
) -> Iterator[tuple[Prompt, list[Record]]]:
    """Prompts that a search has answered, each with its runs in the order of the seeds."""
    for prompt in prompts.prompts:
        keys = [RunKey(prompt.key, search, seed) for seed in seeds]
        if found := [records.done[key] for key in keys if key in records.done]:
            yield prompt, found


def _file_name(label: str, search: str) -> str:
    """The label, with the search's digest where it cannot be a file's name as it is."""
    safe = re.sub(r"[^\w.=,+-]+", "_", label)
    return safe if safe == label else f"{safe}-{search[:6]}"
