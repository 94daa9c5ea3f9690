"""`langchain-darwin compare`: searches on the same prompts at equal cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_darwin.cli.boundary import Debug, plain_errors, tell_progress
from langchain_darwin.cli.reward_specs import REWARDS, parse_rewards
from langchain_darwin.cli.search_specs import SEARCHES, SPECS, parse_searches

if TYPE_CHECKING:
    from rich.console import Console

    from langchain_darwin.evaluation.comparison import Comparison, Watch
    from langchain_darwin.evaluation.datasets.prompts import PromptSet
    from langchain_darwin.evaluation.reporting.report import Report

_SEARCH_PANEL, _SAMPLING_PANEL, _RUN_PANEL = "What is compared", "The answers", "The run"
_LINE_EVERY = 30.0  # seconds between lines of progress where there is no terminal
EPILOG = f"""\
Rewards and gold:
{REWARDS}
ifeval                    IFEval's strict accuracy: 1 if all instructions of
                          the prompt are followed (for prompts of IFEval)
ifeval-partial            the share of the instructions that are followed"""


def compare(
    *,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of records and report. Given again, it goes on there."),
    ],
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="A file (.jsonl, .json, or text, a prompt a line), or alpaca_eval, mt_bench, ifeval, or NAME=FILE.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    searches: Annotated[
        list[str] | None,
        typer.Option(
            "--searches",
            "-s",
            metavar=SPECS,
            help=f"A search, such as short@darwin:period=16; give several. NAME is one of {', '.join(SEARCHES)}.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            "--reward", "-r", metavar="REWARD", help="What guides the searches.", rich_help_panel=_SEARCH_PANEL
        ),
    ] = None,
    gold: Annotated[
        list[str] | None,
        typer.Option(
            "--gold",
            "-g",
            metavar="REWARD",
            help="Another measure, which no search sees.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="With commas (0,1,2); each prompt is run once with each.", rich_help_panel=_SEARCH_PANEL)
    ] = "0",
    limit: Annotated[
        int | None, typer.Option(help="Take only so many prompts, the first.", rich_help_panel=_SEARCH_PANEL)
    ] = None,
    pool: Annotated[
        int,
        typer.Option(
            help="Plain samples a prompt; the reference is Best-of-N of up to so many.", rich_help_panel=_SEARCH_PANEL
        ),
    ] = 20,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Hub id or folder of a chat model, or vllm+http://host:port/name of one on a vLLM server. "
            "Default: the embedded SmolLM2-135M.",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", rich_help_panel=_SAMPLING_PANEL)] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=_SAMPLING_PANEL)] = 0.7,
    dtype: Annotated[
        str,
        typer.Option(
            help="In float32 a seed gives the same answer whatever else is running; auto may be faster. "
            "A server has its own.",
            rich_help_panel=_SAMPLING_PANEL,
        ),
    ] = "float32",
    at_once: Annotated[
        int,
        typer.Option(help="Runs that share the machine; 1 to compare seconds too.", rich_help_panel=_RUN_PANEL),
    ] = 4,
    trace: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append a record of every search, for `show`.", rich_help_panel=_RUN_PANEL),
    ] = None,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Run nothing; report on what is in DIR.", rich_help_panel=_RUN_PANEL),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compare searches on the same prompts at equal cost.

    The reference is Best-of-N at the same number of generated tokens.
    Needs --prompts, --searches, --reward and --gold.

    The same command goes on where it was stopped; prompts, searches and seeds may be added.
    DIR gets records.jsonl, report.json, report.md and report.png.
    """
    with plain_errors(debug=debug):
        if report_only:
            _tell(out, prompts)
            return
        chosen = _required(prompts=prompts, searches=searches, reward=reward, gold=gold)
        tell_progress()
        comparison = _comparison(
            **chosen,
            seeds=_numbers(seeds),
            limit=limit,
            pool=pool,
            model=model,
            fields={"max_tokens": max_tokens, "temperature": temperature, "trace": trace},
            dtype=dtype,
        )
        _run(comparison, out, at_once)
        if _tell(out, prompts).failures:
            raise typer.Exit(1)


def _required(**options: Any) -> dict[str, Any]:
    from langchain_darwin.errors import ConfigurationError

    if missing := [f"--{name}" for name, value in options.items() if not value]:
        raise ConfigurationError(f"{' and '.join(missing)} missing; see langchain-darwin compare --help")
    return options


def _numbers(seeds: str) -> tuple[int, ...]:
    from langchain_darwin.errors import ConfigurationError

    try:
        return tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ConfigurationError(f"--seeds {seeds!r} must be whole numbers with commas, such as 0,1,2") from None


def _comparison(
    *,
    prompts: str,
    searches: list[str],
    reward: list[str],
    gold: list[str],
    model: str | None,
    dtype: str,
    fields: dict[str, Any],
    **rest: Any,
) -> Comparison:
    from langchain_darwin.chat_models import ChatDarwin
    from langchain_darwin.evaluation.comparison import Comparison
    from langchain_darwin.evaluation.datasets.prompts import load_prompts
    from langchain_darwin.policies.by_name import policy_named

    asked = load_prompts(prompts)
    verifiers = _verifiers(asked)
    guided = ChatDarwin(model=policy_named(model, dtype=dtype), reward=parse_rewards(reward, more=verifiers), **fields)
    measure = parse_rewards(gold, "--gold", verifiers)
    return Comparison(guided, asked, parse_searches(searches), measure, **rest)


def _verifiers(asked: PromptSet) -> dict[str, Callable[[], Any]]:
    def make(name: str) -> Any:
        from langchain_darwin.evaluation.datasets import ifeval

        return getattr(ifeval, name)(asked)

    return {"ifeval": lambda: make("StrictAccuracy"), "ifeval-partial": lambda: make("PartialScore")}


def _run(comparison: Comparison, out: Path, at_once: int) -> None:
    from langchain_darwin.evaluation.comparison import compare as run_comparison

    ended = [0, 0]
    try:
        with _progress(ended) as watch:
            run_comparison(comparison, out, at_once=at_once, watch=watch)
    except KeyboardInterrupt:
        done = f"{ended[0]} of {ended[1]} runs are done. " if ended[1] else ""
        typer.echo(f"{done}The same command goes on where this one stopped.", err=True)
        raise


@contextlib.contextmanager
def _progress(ended: list[int]) -> Iterator[Watch]:
    """A bar on a terminal, else a line now and then; `ended` takes the numbers."""
    from rich.console import Console

    console = Console(stderr=True)
    with _bar(console) if console.is_terminal else contextlib.nullcontext(_lines()) as show:

        def watch(_: Any, done: int, total: int) -> None:
            ended[:] = done, total
            show(done, total)

        yield watch


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("comparing"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines() -> Callable[[int, int], None]:
    """Lines at intervals, with the time that is left at the pace so far."""
    began = last = time.monotonic()
    here = 0

    def show(done: int, total: int) -> None:
        nonlocal last, here
        here, now = here + 1, time.monotonic()
        if now - last > _LINE_EVERY or done == total:
            last = now
            minutes = (now - began) / here * (total - done) / 60
            typer.echo(
                f"{done} of {total} runs" + (f", about {minutes:.0f} min left" if done < total else ""), err=True
            )

    return show


def _tell(out: Path, prompts: str | None) -> Report:
    """Print the report on what is in the folder, and write its files."""
    from rich.console import Console

    from langchain_darwin.evaluation.datasets.prompts import load_prompts
    from langchain_darwin.evaluation.records import read_records
    from langchain_darwin.evaluation.reporting.answer_files import write_answers
    from langchain_darwin.evaluation.reporting.report import make_report
    from langchain_darwin.evaluation.reporting.tables import failures, introduction, tables

    records = read_records(out)
    report, console = make_report(records), Console()
    for line in introduction(report):
        console.print(line, markup=False, highlight=False)
    for table in tables(report):
        console.print("", table.rich())
    for line in failures(report):
        typer.echo(f"failed: {line}", err=True)
    written = _write(report, out) + (write_answers(load_prompts(prompts), records, out) if prompts else [])
    typer.echo(f"written: {', '.join(map(str, written))}", err=True)
    return report


def _write(report: Report, out: Path) -> list[Path]:
    from langchain_darwin.errors import MissingDependencyError
    from langchain_darwin.evaluation.reporting.report_files import write_plot, write_report

    written = write_report(report, out)
    try:
        return [*written, write_plot(report, out)]
    except MissingDependencyError as error:
        typer.echo(str(error), err=True)
        return written
