"""`langchain-darwin pairs`: recorded searches as training data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from langchain_darwin.cli.boundary import Debug, plain_errors


def pairs(
    trace: Annotated[Path, typer.Argument(help="A file that `ask --trace` or ChatDarwin(trace=...) wrote.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Write here. Default: standard output.", show_default=False)] = None,
    margin: Annotated[float, typer.Option(help="Least difference of the two rewards.")] = 0.0,
    per_search: Annotated[int, typer.Option(help="Most pairs of one search, the most different first.")] = 1,
    cut_off: Annotated[
        bool, typer.Option("--cut-off", help="Take also answers that ended at the limit of tokens.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write preference pairs for TRL's DPOTrainer: the best finished answer of each search, and the worst."""
    with plain_errors(debug=debug):
        from langchain_darwin.trace.preference_pairs import check_settings, json_line, pairs_of
        from langchain_darwin.trace.streaming import stream_traces

        check_settings(trace, margin, per_search)
        _refuse_overwriting(trace, out)
        searches = written = 0
        with _opened(out) as file:
            for searches, run in enumerate(stream_traces(trace), 1):  # noqa: B007  (told at the end)
                found = pairs_of(run, margin=margin, per_search=per_search, cut_off=cut_off)
                file.writelines(map(json_line, found))
                written += len(found)
        typer.echo(_summary(written, searches, cut_off=cut_off), err=True)


def _refuse_overwriting(trace: Path, out: Path | None) -> None:
    from langchain_darwin.errors import ConfigurationError

    if out is not None and out.exists() and out.samefile(trace):
        raise ConfigurationError(f"--out {out} is the trace itself; name another file")


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        yield file


def _summary(written: int, searches: int, *, cut_off: bool) -> str:
    told = f"{written} pairs from {searches} searches"
    if written or not searches:
        return told
    hint = "" if cut_off else "; --cut-off takes also answers that ended at the limit of tokens"
    return f"{told}: none has two finished answers whose rewards differ enough{hint}"
