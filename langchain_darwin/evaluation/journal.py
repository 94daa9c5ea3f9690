"""The file of records while a comparison runs: nothing written is lost, whenever the process is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.records import (
    FILE_NAME,
    ComparisonPlan,
    Failure,
    Record,
    Records,
    parse_records,
    to_json,
)


class Journal:
    """An open file of records that lines are added to.

    Attributes:
        records: What it held when it was opened.
    """

    def __init__(self, file: BinaryIO, records: Records) -> None:
        self.records = records
        self._file = file

    def add(self, line: Record | Failure | ComparisonPlan) -> None:
        """Append one line; it is on the disk when this returns."""
        _append(self._file, to_json(line))

    def plan(self, plan: ComparisonPlan) -> None:
        """Append what is asked for, unless it is what was asked for last."""
        if plan != self.records.plan:
            self.add(plan)


@contextmanager
def open_journal(out: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the file of records in a folder, or start one.

    A last line that a killed process left unfinished is removed.

    Args:
        out: The folder; made if need be.
        header: `settings`, which must be those of the existing file, and `names`, for people.

    Raises:
        ConfigurationError: The file has other settings, or another process writes to it.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, header = out / FILE_NAME, json.loads(json.dumps(header))
    with _alone(path), path.open("a+b") as file:
        file.seek(0)
        records = parse_records(path, _whole_lines(file))
        if records.header:
            _check_same(path, records.header["settings"], header["settings"])
        else:
            _append(file, to_json(header))
        yield Journal(file, records)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        msg = f"another process writes to {path}; wait for it to end, or give a new folder"
        raise ConfigurationError(msg) from None
    try:
        yield
    finally:
        lock.release()


def _whole_lines(file: BinaryIO) -> bytes:
    content = file.read()
    end = content.rfind(b"\n") + 1
    file.truncate(end)
    return content[:end]


def _append(file: BinaryIO, line: str) -> None:
    file.write(line.encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _check_same(path: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changes = list(_changes("", begun, now))
    if changes:
        msg = f"{path} was written with other settings: {'; '.join(changes)}. Give these again, or a new folder"
        raise ConfigurationError(msg)


def _changes(where: str, before: Any, after: Any) -> Iterator[str]:
    """Each difference of two JSON values, as "name: before -> after"."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from _changes(f"{where}.{name}" if where else name, before.get(name), after.get(name))
    elif before != after:
        yield f"{where} was {json.dumps(before)}, now {json.dumps(after)}"
