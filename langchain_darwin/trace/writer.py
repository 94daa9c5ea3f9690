"""Writing a trace: one line for each event, while the search runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_darwin._version import __version__
from langchain_darwin.search.base import Event, GrowthStarted, Search, Task, TokensDrawn, describe
from langchain_darwin.trace.records import FORMAT, Memory, to_record

_SECRET = re.compile(
    r"(api_?key|secret|passw(or)?d|authorization|credential|(access|auth|hf|bearer)_?token)", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# Escaped beyond what JSON asks: C1 controls, zero-width and bidirectional marks, line ends, lone surrogates.
_UNPRINTABLE = re.compile("[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_APPENDING = threading.Lock()


class TraceWriter:
    """Records one run of a search, and appends it to a file if there is one.

    Every record is one `write` of a whole line in append mode, under a lock of the process. So any number of runs
    may share a file.

    Attributes:
        path: The file, made with its folders if missing; None only collects the records.
        run: Name of this run within the file.
        records: All records so far, JSON-able.
    """

    def __init__(
        self, path: str | Path | None, task: Task, search: Search, *, model: str, reward: str, **facts: Any
    ) -> None:
        """Write the header.

        Args:
            path: The file to append to, or None.
            task: The question; its codec decodes the texts.
            search: The algorithm.
            model: Name of the policy.
            reward: Name of the reward.
            facts: Anything else worth knowing, JSON-able; passwords and keys in it are blotted out.
        """
        self.path = None if path is None else Path(path)
        self.run = secrets.token_hex(6)
        self.records: list[dict[str, Any]] = []
        self._text, self._memory, self._started = task.text, Memory(), time.monotonic()
        if self.path is not None:
            _prepare(self.path)
        self._append(
            {
                "type": "Header",
                "format": FORMAT,
                "version": __version__,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "model": model,
                "reward": reward,
                "search": describe(search),
                "seed": task.seed,
                "sampling": asdict(task.sampling),
                "conversation": list(task.conversation),
                "tools": list(task.tools),
                **facts,
            }
        )

    def write(self, event: Event) -> None:
        """Record an event. What streams watch within a `Grow` is left out: `Grown` tells the same."""
        if not isinstance(event, GrowthStarted | TokensDrawn):
            self._append(to_record(event, self._memory, self._text))

    async def awrite(self, event: Event) -> None:
        """Record an event without blocking the event loop; await each before the next."""
        await asyncio.to_thread(self.write, event)

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the run."""
        self._append({"type": "Failed", "error": f"{type(error).__name__}: {error}"})

    def _append(self, record: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - self._started, 4)
        record = {"run": self.run, "n": len(self.records), "t": seconds, **record}
        if record["type"] in ("Header", "Started", "Failed"):
            record = _blotted(record)
        self.records.append(record)
        if self.path is not None:
            line = _line(record)
            with _APPENDING, self.path.open("ab", buffering=0) as file:
                file.write(line)


def _prepare(path: Path) -> None:
    """Make the folder, and end a line that a killed process left unfinished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _APPENDING, path.open("a+b") as file:
        if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
            file.write(b"\n")


def _line(record: Mapping[str, Any]) -> bytes:
    """One line of JSON in which nothing can move a cursor or reorder text."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode() + b"\n"


def _blotted(value: Any) -> Any:
    """The value with passwords and keys in it replaced by asterisks."""
    if isinstance(value, Mapping):
        return {key: "***" if item and _SECRET.search(str(key)) else _blotted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blotted(item) for item in value]
    return _USERINFO.sub("***", value) if isinstance(value, str) else value
