"""Reading a long trace run by run, in the memory that the runs which overlap at one place take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.trace.reader import Trace, _parsed, traces


def stream_traces(path: str | Path) -> Iterator[Trace]:
    """Yield the runs in a file, each as soon as its last record was read; those without an end come last.

    It differs from `read_trace` in the order, and with broken files. A line that is no record is skipped, and so
    is a run that has lost its first record.

    Raises:
        ConfigurationError: No line of the file is a record, or a run was written by a newer version.
    """
    path = Path(path)
    under_way: dict[str, list[dict[str, Any]]] = {}
    lines = records = 0
    with path.open("rb") as file:
        for line in file:
            lines += bool(line.strip())
            record = _parsed(line)
            if record is None:
                continue
            records += 1
            run = under_way.setdefault(record["run"], [])
            run.append(record)
            if record["type"] in ("Finished", "Failed"):
                yield from _with_header(under_way.pop(record["run"]))
    if lines and not records:
        raise ConfigurationError(f"{path} is not a trace: no line is a record; pass a file that `trace=` wrote")
    for left in under_way.values():
        yield from _with_header(left)


def _with_header(run: list[dict[str, Any]]) -> list[Trace]:
    return traces(run) if run[0]["type"] == "Header" else []
