"""Events to records and back: what a line of a trace holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

from langchain_darwin.runtime.prefixes import Text, shared_length
from langchain_darwin.search.base import Beam, Event, Finished, Grown, Outcome, Scored

FORMAT = 1
"""Version of the file format; a reader refuses newer ones."""

TextOf = Callable[[Beam], str]
"""The text of a beam's response, for people."""

EVENTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}
"""Events by the `type` of their records."""

_PLAIN = ("parent", "reward", "logprob", "finish", "instruction", "aside", "key")


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
        """Return the state that a record of this beam builds on: its last, else its parent's, else a blank beam."""
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
    kind = EVENTS[record["type"]]
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
    if beam.parts and ("reward" in record or beam.parts != base.parts):
        record["parts"] = {name: _encode(part, memory, text_of) for name, part in beam.parts.items()}
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


def _suffix(name: str, at: str, old: Text, new: Text) -> dict[str, Any]:
    """Return what to add to `old` to get `new`, and after how many of its elements unless after all."""
    shared = shared_length(old, new)
    record: dict[str, Any] = {} if shared == len(old) else {at: shared}
    if added := new[shared:]:
        record[name] = added if isinstance(added, str) else list(added)
    return record


def _decode_beam(record: Mapping[str, Any], memory: Memory) -> Beam:
    ident = record["id"]
    base = memory.beams.get(record.get("from", ident)) or Beam(ident, "", ())
    changed = {name: _decode(name, record[name], memory) for name in _PLAIN if name in record}
    if "parts" in record or "reward" in record:  # parts that are not written with a new reward are none
        changed["parts"] = {name: _number(part) for name, part in record.get("parts", {}).items()}
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


def beams_of(event: Event) -> tuple[Beam, ...]:
    """The beams that an event carries."""
    if isinstance(event, Grown | Scored):
        return event.beams
    if isinstance(event, Finished):
        return (*event.outcome.beams, *([event.outcome.seed] if event.outcome.seed else ()))
    return ()
