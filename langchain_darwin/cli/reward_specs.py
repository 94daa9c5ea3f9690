"""Rewards as they are written on a command line."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_darwin.errors import ConfigurationError

REWARDS = """\
self                      the model's own judgement (weak on small models)
length:40-80              a length window in words; length:2-3:sentences also
                          in characters, lines, tokens
keywords:storm,red moon   the share of these words that occur
forbidden:very,really     minus the share of these words that occur
regex:PATTERN             1 where the regular expression is found
json, json:schema.json    1 for valid JSON, that follows a JSON Schema
no-repetition             minus the share of three-word phrases that repeat
no-refusal                0 for "I'm sorry, but ..."
file.py:name              your function (messages, responses) -> numbers
owner/name, ./folder      a Hugging Face reward model by hub id or folder
Several add up, each with a weight if need be: -r json -r '0.5*no-repetition'"""

_WEIGHT = re.compile(r"([+-]?\d+(?:\.\d+)?)\*(.+)", re.DOTALL)
_PYTHON = re.compile(r"(.+\.py):([^:\\/]+)")
_WINDOW = re.compile(r"(\d*)-(\d*)(?::(\w+))?")


def parse_rewards(
    specs: Sequence[str], option: str = "--reward", more: Mapping[str, Callable[[], Any]] | None = None
) -> Any:
    """Return what `--reward` describes, as `ChatDarwin(reward=...)` takes it.

    Args:
        specs: One or several, which add up.
        option: The option that they were given to, for errors.
        more: Rewards that only this option knows, by name.

    Raises:
        ConfigurationError: One of them is not understood; the message says what is possible.
    """
    if len(specs) == 1 and not _WEIGHT.fullmatch(specs[0]):
        return parse_reward(specs[0], option, more)
    weighted = [_weighted(spec) for spec in specs]
    return [(weight, parse_reward(spec, option, more)) for weight, spec in weighted]


def _weighted(spec: str) -> tuple[float, str]:
    match = _WEIGHT.fullmatch(spec)
    return (float(match[1]), match[2]) if match else (1.0, spec)


def parse_reward(spec: str, option: str = "--reward", more: Mapping[str, Callable[[], Any]] | None = None) -> Any:
    """One reward: a rule, `"self"`, a model's id or folder, or what a Python file holds under a name."""
    from langchain_darwin.errors import ConfigurationError

    try:
        return more[spec]() if more and spec in more else _reward_of(spec)
    except ConfigurationError as error:
        raise ConfigurationError(f"{option} {error}") from error.__cause__


def _reward_of(spec: str) -> Any:
    if match := _PYTHON.fullmatch(spec):
        return load_reward(Path(match[1]).expanduser(), match[2])
    name, _, value = spec.partition(":")
    if name in _RULES:
        return _RULES[name](value)
    if spec == "self" or Path(spec).expanduser().is_dir() or re.fullmatch(r"[\w.-]+/[\w.-]+", spec):
        return spec if spec == "self" or "/" in spec else f"./{spec}"
    if spec.endswith(".py"):
        raise _wrong(f"{spec!r} names no function; write {spec}:NAME")
    near = _near(name, ["self", *_RULES]) or "."
    raise _wrong(f"{spec!r} is not a reward{near} Possible are\n{REWARDS}")


def load_reward(path: Path, name: str) -> Any:
    """Return the object `name` of the Python file at `path`; the file is run, as `python path` would."""
    if not path.is_file():
        raise _wrong(f"{path}:{name}: there is no file {path}")
    module_spec = importlib.util.spec_from_file_location(f"_reward_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise _wrong(f"{path}:{name}: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))  # so that it finds its neighbours
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise _wrong(f"{path}:{name}: the file cannot be loaded: {what}") from error
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise _wrong(f"{path}:{name}: {path} has no {name!r}{_near(name, own)}")
    return getattr(module, name)


def _keywords(value: str) -> Any:
    from langchain_darwin.rewards.rules import Keywords

    return Keywords(_words("keywords", value))


def _forbidden(value: str) -> Any:
    from langchain_darwin.rewards.rules import Keywords

    return Keywords(forbidden=_words("forbidden", value))


def _words(name: str, value: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if not words:
        raise _wrong(f"'{name}:{value}' names no words; write for example {name}:storm,red moon")
    return words


def _length(value: str) -> Any:
    from langchain_darwin.rewards.rules import LengthWindow

    match = _WINDOW.fullmatch(value)
    if match is None or not (match[1] or match[2]):
        raise _wrong(
            f"'length:{value}' is no window; write length:40-80, length:40-, length:-80, or length:2-3:sentences"
        )
    unit: Any = match[3] or "words"
    return LengthWindow(int(match[1] or 0), int(match[2]) if match[2] else None, unit)


def _regex(value: str) -> Any:
    from langchain_darwin.rewards.rules import Matches

    if not value:
        raise _wrong("'regex:' is empty; write the expression behind the colon")
    return Matches(value)


def _json(value: str) -> Any:
    from langchain_darwin.rewards.rules import ValidJson

    if not value:
        return ValidJson()
    try:
        return ValidJson(json.loads(Path(value).expanduser().read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _wrong(f"'json:{value}': {value} is not a JSON file: {error}") from error


def _no_repetition(value: str) -> Any:
    from langchain_darwin.rewards.rules import RepetitionPenalty

    _refuse_value("no-repetition", value)
    return RepetitionPenalty()


def _no_refusal(value: str) -> Any:
    from langchain_darwin.rewards.rules import NoRefusal

    _refuse_value("no-refusal", value)
    return NoRefusal()


def _refuse_value(name: str, value: str) -> None:
    if value:
        raise _wrong(f"'{name}:{value}': {name} takes nothing behind a colon")


_RULES: dict[str, Callable[[str], Any]] = {
    "length": _length,
    "keywords": _keywords,
    "forbidden": _forbidden,
    "regex": _regex,
    "json": _json,
    "no-repetition": _no_repetition,
    "no-refusal": _no_refusal,
}


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _wrong(message: str) -> ConfigurationError:
    """The error for a wrong option; made here so that `--help` need not load LangChain."""
    from langchain_darwin.errors import ConfigurationError

    return ConfigurationError(message)
