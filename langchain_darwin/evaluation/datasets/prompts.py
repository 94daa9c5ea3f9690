"""Sets of prompts: from a file, or by name from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError, MissingDependencyError


@dataclass(frozen=True)
class Prompt:
    """One conversation to be had.

    Attributes:
        key: Name within its set.
        turns: What the user says, one text a turn; the model answers after each. At least one.
        data: The fields of its record as they were read; for IFEval without the arguments that are null.
    """

    key: str
    turns: tuple[str, ...]
    data: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class PromptSet:
    """Prompts with distinct keys.

    Attributes:
        name: `alpaca_eval`, `mt_bench` or `ifeval` for a set of that format, else the name of the file.
        prompts: In the order of the file, at least one.
    """

    name: str
    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        """Refuse an empty set and keys that occur twice."""
        if not self.prompts:
            raise ConfigurationError(f"{self.name} holds no prompts; give at least one")
        seen: set[str] = set()
        for prompt in self.prompts:
            if prompt.key in seen:
                raise ConfigurationError(f"{self.name}: the key {prompt.key!r} occurs twice; give each prompt its own")
            seen.add(prompt.key)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def digest(self) -> str:
        """See `digest_of`; the name of the set plays no part."""
        return digest_of(self)


def digest_of(prompts: Iterable[Prompt]) -> str:
    """SHA-256 in hexadecimal of keys, turns and data of the prompts in their order."""
    facts = [[prompt.key, prompt.turns, prompt.data] for prompt in prompts]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Format:
    """The fields by which records of one kind are recognised, and the way to read them.

    Attributes:
        fields: A record of this kind has them all.
        keys: Fields for the prompt's key, the first that is there; without one it is the number of the line or item.
        read: Key and record -> prompt; raises `ConfigurationError` without the place.
        hub: Arguments of `datasets.load_dataset`.
        home: Where the file is to be had.
    """

    fields: frozenset[str]
    keys: tuple[str, ...]
    read: Callable[[str, Mapping[str, Any]], Prompt]
    hub: Mapping[str, Any]
    home: str


def load_prompts(spec: str) -> PromptSet:
    """Return a set of prompts.

    Args:
        spec: `alpaca_eval`, `mt_bench` or `ifeval`: read from the Hugging Face hub with `datasets`. `NAME=FILE`:
            a file in that set's own format. `FILE`: a file whose format is seen from its fields. Files
            are `.jsonl` (one object a line), `.json` (a list of objects), or else text, one prompt a line.
            Objects of no known format have a `prompt`, an `instruction` or a `question`. They may have a `key`,
            an `id` or a `question_id`. Prompts without one take the number of their line.

    Raises:
        ConfigurationError: There is no such set or file, or a line of it cannot be used.
        MissingDependencyError: A set is to come from the hub and `datasets` is not installed.
    """
    name, _, file = spec.partition("=")
    if name in _FORMATS:
        return _from_file(Path(file), name) if file else _from_hub(name)
    return _from_file(Path(spec))


def _from_file(path: Path, name: str | None = None) -> PromptSet:
    if not path.is_file():
        known = ", ".join(_FORMATS)
        raise ConfigurationError(f"prompts {str(path)!r}: no such file; give a file, NAME=FILE, or one of {known}")
    text = _text_of(path)
    if path.suffix not in (".json", ".jsonl"):
        return PromptSet(path.name, tuple(_from_lines(path, text)))
    records = list(_items(path, text) if path.suffix == ".json" else _lines(path, text))
    name = name or _recognised(records[0][2] if records else {})
    return _read(records, name, str(path))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from None


def _from_lines(path: Path, text: str) -> Iterator[Prompt]:
    if text.lstrip().startswith('{"'):
        raise ConfigurationError(
            f"{path} begins like JSON lines; name it .jsonl, or .txt lines are prompts as they are"
        )
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Prompt(str(number), (line.strip(),), {"prompt": line.strip()})


_Record = tuple[str, int, Any]
"""Its place ("line 3"), its number from 1, and its content."""


def _lines(path: Path, text: str) -> Iterator[_Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", number, json.loads(line)
        except ValueError as error:
            msg = f"{path}, line {number}: no JSON: {error}; write one object a line"
            raise ConfigurationError(msg) from None


def _items(path: Path, text: str) -> Iterator[_Record]:
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}; for one object a line name it .jsonl") from None
    if not isinstance(items, list):
        raise ConfigurationError(f"{path} holds one {type(items).__name__}; it must be a list of objects")
    yield from ((f"item {number}", number, item) for number, item in enumerate(items, 1))


def _from_hub(name: str) -> PromptSet:
    known = _FORMATS[name]
    remedy = f"give its file, {name}=FILE; it is to be had from {known.home}"
    try:
        from datasets import load_dataset
    except ImportError:
        msg = f"prompts {name!r} need `datasets` (pip install datasets); or {remedy}"
        raise MissingDependencyError(msg) from None
    try:
        rows = load_dataset(**known.hub)
    except Exception as error:
        raise ConfigurationError(f"prompts {name!r} could not be loaded from the hub: {error}; {remedy}") from error
    return _read(((f"row {number}", number, row) for number, row in enumerate(rows, 1)), name, name)


def _recognised(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    return next((name for name, known in _FORMATS.items() if known.fields <= record.keys()), None)


def _read(records: Iterable[_Record], name: str | None, source: str) -> PromptSet:
    prompts = []
    for place, number, record in records:
        try:
            prompts.append(_checked(record, name, number))
        except ConfigurationError as error:
            raise ConfigurationError(f"{source}, {place}: {error}") from None
    return PromptSet(name or Path(source).name, tuple(prompts))


def _checked(record: Any, name: str | None, number: int) -> Prompt:
    known = _FORMATS[name] if name else _PLAIN
    if not isinstance(record, dict):
        raise ConfigurationError(f"{record!r} must be an object with a prompt")
    if missing := sorted(known.fields - record.keys()):
        raise ConfigurationError(f"it lacks {', '.join(missing)}, which every record of {name} has")
    key = next((record[name] for name in known.keys if name in record), number)
    return known.read(str(key), record)


def _plain(key: str, record: Mapping[str, Any]) -> Prompt:
    said = next((name for name in ("prompt", "instruction", "question") if name in record), None)
    if said is None:
        raise ConfigurationError("it lacks a prompt; name it `prompt`, `instruction` or `question`")
    return Prompt(key, (_said(record, said),), record)


def _alpaca_eval(key: str, record: Mapping[str, Any]) -> Prompt:
    return Prompt(key, (_said(record, "instruction"),), record)


def _mt_bench(key: str, record: Mapping[str, Any]) -> Prompt:
    turns = record["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise ConfigurationError(f"turns={turns!r} must be a list of texts, at least one")
    return Prompt(key, tuple(turns), record)


def _ifeval(key: str, record: Mapping[str, Any]) -> Prompt:
    names, kwargs = record["instruction_id_list"], record["kwargs"]
    if not isinstance(names, list) or not isinstance(kwargs, list) or len(names) != len(kwargs):
        raise ConfigurationError("instruction_id_list and kwargs must be lists of one length, one entry an instruction")
    given = [{name: value for name, value in (entry or {}).items() if value is not None} for entry in kwargs]
    return Prompt(key, (_said(record, "prompt"),), {**record, "kwargs": given})


def _said(record: Mapping[str, Any], name: str) -> str:
    text = record[name]
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(f"{name}={text!r} must be a text")
    return text


_PLAIN = _Format(frozenset(), ("key", "id", "question_id"), _plain, {}, "")

_FORMATS = {
    "alpaca_eval": _Format(
        frozenset({"instruction", "dataset"}),
        (),
        _alpaca_eval,
        {"path": "json", "data_files": "hf://datasets/tatsu-lab/alpaca_eval/alpaca_eval.json", "split": "train"},
        "https://huggingface.co/datasets/tatsu-lab/alpaca_eval (alpaca_eval.json)",
    ),
    "mt_bench": _Format(
        frozenset({"question_id", "turns"}),
        ("question_id",),
        _mt_bench,
        {"path": "lighteval/mt-bench", "split": "train"},
        "https://github.com/lm-sys/FastChat (fastchat/llm_judge/data/mt_bench/question.jsonl)",
    ),
    "ifeval": _Format(
        frozenset({"key", "prompt", "instruction_id_list", "kwargs"}),
        ("key",),
        _ifeval,
        {"path": "google/IFEval", "split": "train"},
        "https://huggingface.co/datasets/google/IFEval (ifeval_input_data.jsonl)",
    ),
}
