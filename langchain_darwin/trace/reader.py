"""Reading traces: whole events again, and what it takes to redraw the tree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Beam, CycleStarted, Event, Finished, Grown, Outcome, Replaced, Scored
from langchain_darwin.trace.records import EVENTS, FORMAT, Memory, beams_of, from_record


@dataclass(frozen=True, slots=True)
class Round:
    """One step of all beams: grown, then judged, then some of them replaced.

    Attributes:
        number: From 1, over all cycles.
        cycle: The mutation cycle as the search numbers it, or None outside of cycles.
        seconds: When it ended, since the run began.
        beams: The beams at its end.
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
        """The outcome of the search, or None if it did not come to its end."""
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

    What a killed process left (an unfinished last line, a run without an end) is read as far as it goes. The
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
        if record["type"] not in EVENTS:
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
