"""The one record of a search: JSON lines out, whole events in.

A file holds one record a line and any number of searches, also concurrent ones. Each record names its
`run`, its number `n` in the run and the seconds `t` since the run began. The first record of a run is its
header, the others are the events of `search/base.py` by class name, and `Failed` where an error ended the
run.

A beam is written as what changed since the last record of the same beam, or of the beam it was copied from
(`from`), so a trace grows with the length of the texts and not with its square: `tokens` are the ids to add
after the first `keep` (all, if absent), `text` likewise after the first `text_at` characters, `prompt` a
list of ids or the number of an earlier one. A field that is absent did not change.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

from langchain_darwin._version import __version__
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import (
    Beam,
    CycleStarted,
    Event,
    Finished,
    Grown,
    GrowthStarted,
    Outcome,
    Replaced,
    Scored,
    Search,
    Task,
    TokensDrawn,
    describe,
)

FORMAT = 1
"""Version of the file format; a reader refuses newer ones."""

TextOf = Callable[[Beam], str]
"""The text of a beam's response, for people."""

_EVENTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}
_PLAIN = ("parent", "reward", "logprob", "finish", "instruction", "aside", "key")
_SECRET = re.compile(
    r"(api_?key|secret|passw(or)?d|authorization|credential|(access|auth|hf|bearer)_?token)", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# Escaped beyond what JSON asks: C1 controls, zero-width and bidirectional marks, line ends, lone surrogates.
_UNPRINTABLE = re.compile("[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_APPENDING = threading.Lock()


@dataclass
class Memory:
    """The last state of each beam of one run: what the records leave out. Writer and reader each keep one.

    Attributes:
        beams: Beams by id.
        texts: Their texts by id.
        prompts: Distinct prompts in order of appearance.
    """

    beams: dict[int, Beam] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    prompts: list[tuple[int, ...]] = field(default_factory=lambda: [()])

    def base(self, beam: Beam) -> Beam:
        """What a record of this beam builds on: its last state, else its parent's, else a blank beam."""
        donor = -1 if beam.parent is None else beam.parent
        return self.beams.get(beam.id) or self.beams.get(donor) or Beam(beam.id, "", ())

    def keep(self, beam: Beam, text: str) -> None:
        """Remember the last state of a beam."""
        self.beams[beam.id] = beam
        self.texts[beam.id] = text


def to_record(event: Event, memory: Memory, text: TextOf = lambda beam: "") -> dict[str, Any]:  # noqa: ARG005
    """The event as JSON-able facts; beams as what changed since `memory`, which is brought up to date."""
    record: dict[str, Any] = {"type": type(event).__name__}
    for entry in fields(event):
        value = getattr(event, entry.name)
        record[entry.name] = _encode(value, memory, text)
    return record


def from_record(record: Mapping[str, Any], memory: Memory) -> Event:
    """The event that `to_record` was given; sequences inside `Started.search` come back as lists."""
    kind = _EVENTS[record["type"]]
    values = {entry.name: _decode(entry.name, record[entry.name], memory) for entry in fields(kind)}
    event: Event = kind(**values)
    return event


def _encode(value: Any, memory: Memory, text: TextOf) -> Any:
    if isinstance(value, Beam):
        return _encode_beam(value, memory, text)
    if isinstance(value, Outcome):
        beams = [_encode_beam(beam, memory, text) for beam in value.beams]
        return {"beams": beams, "seed": _encode(value.seed, memory, text)}
    if isinstance(value, tuple):
        return [_encode(item, memory, text) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _decode(name: str, value: Any, memory: Memory) -> Any:
    if name == "beams":
        return tuple(_decode_beam(item, memory) for item in value)
    if name == "outcome":
        beams = _decode("beams", value["beams"], memory)
        return Outcome(beams, value["seed"] and _decode_beam(value["seed"], memory))
    if name in ("reward", "logprob", "seconds"):
        return _number(value)
    if name == "rewards":
        return tuple(_number(item) for item in value)
    return tuple(value) if isinstance(value, list) else value


def _number(value: Any) -> Any:
    """JSON has no infinities and no NaN: they are written as text."""
    return float(value) if isinstance(value, str) else value


def _encode_beam(beam: Beam, memory: Memory, text_of: TextOf) -> dict[str, Any]:
    base, text = memory.base(beam), text_of(beam)
    record: dict[str, Any] = {"id": beam.id}
    if base.id != beam.id:
        record["from"] = base.id
    changed = [name for name in _PLAIN if getattr(beam, name) != getattr(base, name)]
    record |= {name: _encode(getattr(beam, name), memory, text_of) for name in changed}
    if beam.prompt != base.prompt:
        record["prompt"] = _prompt_record(beam.prompt, memory)
    record |= _suffix("text", "text_at", memory.texts.get(base.id, ""), text)
    record |= _suffix("tokens", "keep", base.tokens, beam.tokens)
    memory.keep(beam, text)
    return record


def _prompt_record(prompt: tuple[int, ...], memory: Memory) -> int | list[int]:
    """The prompt's number if it was written before, else its token ids."""
    if prompt in memory.prompts:
        return memory.prompts.index(prompt)
    memory.prompts.append(prompt)
    return list(prompt)


def _suffix(name: str, at: str, old: Sequence[Any], new: Sequence[Any]) -> dict[str, Any]:
    """What to add to `old` to make `new`, and after how many of its elements unless after all."""
    shared = len(old) if new[: len(old)] == old else _shared(old, new)
    record: dict[str, Any] = {} if shared == len(old) else {at: shared}
    if added := new[shared:]:
        record[name] = added if isinstance(added, str) else list(added)
    return record


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _decode_beam(record: Mapping[str, Any], memory: Memory) -> Beam:
    ident = record["id"]
    base = memory.beams.get(record.get("from", ident)) or Beam(ident, "", ())
    changed = {name: _decode(name, record[name], memory) for name in _PLAIN if name in record}
    if "prompt" in record:
        changed["prompt"] = _prompt_from(record["prompt"], memory)
    tokens = base.tokens[: record.get("keep")] + tuple(record.get("tokens", ()))
    text = memory.texts.get(base.id, "")[: record.get("text_at")] + record.get("text", "")
    beam = replace(base, id=ident, tokens=tokens, **changed)
    memory.keep(beam, text)
    return beam


def _prompt_from(record: int | list[int], memory: Memory) -> tuple[int, ...]:
    if isinstance(record, int):
        return memory.prompts[record]
    memory.prompts.append(tuple(record))
    return memory.prompts[-1]


class TraceWriter:
    """Records one run of a search, and appends it to a file if there is one.

    Every record is one `write` of a whole line in append mode, under a lock of the process, so that any
    number of runs may share a file.

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


@dataclass(frozen=True, slots=True)
class Round:
    """One step of all beams: grown, then judged, then some of them replaced.

    Attributes:
        number: From 1, over all cycles.
        cycle: The mutation cycle as the search numbers it, or None outside of cycles.
        seconds: When it ended, since the run began.
        beams: The beams as they stood at its end.
        replaced: Which of them were then given up for a copy of another.
    """

    number: int
    cycle: int | None
    seconds: float
    beams: tuple[Beam, ...]
    replaced: tuple[Replaced, ...] = ()


@dataclass
class Trace:
    """One run as it was recorded.

    Attributes:
        header: Model, reward, search, seed, sampling, conversation, versions and time.
        events: Everything that happened, in order.
        times: Seconds since the run began, one for each event.
        texts: Texts of responses by token ids and whether the beam was an aside.
        error: The error that ended the run, or None.
        notes: What was missing or broken in the file, for people.
    """

    header: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    texts: dict[tuple[tuple[int, ...], bool], str] = field(default_factory=dict)
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def run(self) -> str:
        """Name of the run within its file."""
        return str(self.header["run"])

    @property
    def finished(self) -> Finished | None:
        """The last event, unless the run was killed or failed."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    @property
    def outcome(self) -> Outcome | None:
        """What the search found, or None if it did not come to its end."""
        return self.finished.outcome if self.finished else None

    @property
    def seconds(self) -> float:
        """Time of the last record."""
        return self.times[-1] if self.times else 0.0

    @cached_property
    def beams(self) -> dict[int, Beam]:
        """Every beam in its last state by id, in order of appearance, asides included."""
        return {beam.id: beam for event in self.events for beam in beams_of(event)}

    @cached_property
    def rounds(self) -> list[Round]:
        """The rounds of the search, without the asides."""
        return list(_rounds(zip(self.times, self.events, strict=True)))

    @property
    def replacements(self) -> dict[int, Replaced]:
        """Replacements by the id of the beam that was made."""
        return {event.beam: event for event in self.events if isinstance(event, Replaced)}

    @property
    def cost(self) -> dict[str, int]:
        """Tokens prefilled, decoded and reused by the policy, and texts judged by the reward."""
        grown = [event for event in self.events if isinstance(event, Grown)]
        cost = {name: sum(getattr(event, name) for event in grown) for name in ("prefilled", "decoded", "reused")}
        return {**cost, "judged": sum(event.judged for event in self.events if isinstance(event, Scored))}

    @property
    def roots(self) -> list[Beam]:
        """The fresh beams, which were copied from no other."""
        return [beam for beam in self.beams.values() if beam.parent is None and not beam.aside]

    def children(self, beam: Beam) -> list[Beam]:
        """The beams that were copied from this one, in order of appearance."""
        return [child for child in self.beams.values() if child.parent == beam.id]

    def lineage(self, beam: Beam) -> list[Beam]:
        """The beam and those that it was copied from, oldest first."""
        line = [beam]
        while (parent := line[0].parent) is not None and parent in self.beams:
            line.insert(0, self.beams[parent])
        return line

    def text(self, beam: Beam) -> str:
        """The response of a beam of any event as text, "" if the file does not hold it."""
        return self.texts.get((beam.tokens, beam.aside), "")


def beams_of(event: Event) -> tuple[Beam, ...]:
    """The beams that an event carries."""
    if isinstance(event, Grown | Scored):
        return event.beams
    if isinstance(event, Finished):
        return (*event.outcome.beams, *([event.outcome.seed] if event.outcome.seed else ()))
    return ()


def _rounds(timed: Iterable[tuple[float, Event]]) -> Iterator[Round]:
    number, cycle, current = 0, None, None
    for seconds, event in timed:
        if isinstance(event, CycleStarted):
            cycle = event.cycle
        elif isinstance(event, Grown) and not all(beam.aside for beam in event.beams):
            if current is not None:
                yield current
            number += 1
            current = Round(number, cycle, seconds, event.beams)
        elif isinstance(event, Scored) and current is not None:
            beams = {beam.id: beam for beam in current.beams}
            # What goes beyond the round's texts (candidates for a next token) is told by the next one.
            beams |= {beam.id: beam for beam in event.beams if beam.tokens == beams.get(beam.id, beam).tokens}
            current = replace(current, seconds=seconds, beams=tuple(beams.values()))
        elif isinstance(event, Replaced) and current is not None:
            current = replace(current, replaced=(*current.replaced, event))
    if current is not None:
        yield current


def read_trace(path: str | Path) -> list[Trace]:
    """All runs in a file, in order of their first records.

    What a killed process left (an unfinished last line, a run without an end) is read as far as it goes; the
    trace's `notes` say so.

    Raises:
        ConfigurationError: The file is no trace, or was written by a newer version.
    """
    path, broken = Path(path), []
    records: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            broken.append(number)
    if broken and not records:
        msg = f"{path} is not a trace: line {broken[0]} is not a record; pass a file that `trace=` wrote"
        raise ConfigurationError(msg)
    return traces(records, broken)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"run", "n", "t", "type"} <= record.keys() else None


def traces(records: Sequence[Mapping[str, Any]], broken: Sequence[int] = ()) -> list[Trace]:
    """The runs in a sequence of records, `TraceWriter.records` for example.

    Args:
        records: Records of any number of runs.
        broken: Numbers of lines that could not be read, for the notes.
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        runs.setdefault(record["run"], []).append(record)
    found = [_trace(run) for run in runs.values() if run[0]["type"] == "Header"]
    headless = [name for name, run in runs.items() if run[0]["type"] != "Header"]
    if headless and not found:
        raise ConfigurationError(f"the trace is of no use: run {headless[0]} has lost its first record")
    if headless:
        found[0].notes.append(f"other runs have lost their first record and were left out: {', '.join(headless)}")
    for trace in found:
        if broken and trace.finished is None and trace.error is None:
            lines = ", ".join(map(str, broken))
            trace.notes.append(f"line {lines} of the file is broken (was the process killed?) and was left out")
    return found


def _trace(records: Sequence[Mapping[str, Any]]) -> Trace:
    header, memory = dict(records[0]), Memory()
    if header["format"] > FORMAT:
        msg = (
            f"run {header['run']} was written in trace format {header['format']};"
            f" this version reads up to {FORMAT}: upgrade langchain-darwin to {header['version']} or newer"
        )
        raise ConfigurationError(msg)
    trace = Trace(header)
    for number, record in enumerate(records[1:], 1):
        if record["n"] != number:
            trace.notes.append(f"record {number} is missing; what follows it was left out")
            break
        if record["type"] == "Failed":
            trace.error = record["error"]
            break
        if record["type"] not in _EVENTS:
            trace.notes.append(f"record {number} is of an unknown kind, {record['type']!r}; it ends the reading")
            break
        event = from_record(record, memory)
        trace.events.append(event)
        trace.times.append(record["t"])
        for beam in beams_of(event):
            trace.texts[beam.tokens, beam.aside] = memory.texts[beam.id]
    if trace.finished is None and trace.error is None:
        trace.notes.append("the record ends before the search did")
    return trace
