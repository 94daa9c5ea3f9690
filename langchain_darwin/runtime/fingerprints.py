"""What tells one reward from another: a short description and a digest of code and data.

Two rewards that could give different numbers must never look the same to a cache. What cannot be described
(an open file, a tensor, a lock) therefore counts by its object id.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import logging
import pathlib
import re
import types
from collections.abc import Iterator
from typing import Any

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def identity_of(thing: Any) -> dict[str, Any]:
    """JSON-able facts about a callable: its own `identity()`, or its name and a digest of what it holds."""
    if hasattr(thing, "identity"):
        return dict(thing.identity())
    if _plain_dataclass(thing):
        return {"reward": _name(type(thing)), **json.loads(json.dumps(_fields(thing)))}
    named = thing if isinstance(thing, types.FunctionType | types.BuiltinFunctionType) else type(thing)
    return {"reward": _name(named), "digest": digest(thing)}


def digest(thing: Any) -> str:
    """A hash of a value, function or object: code, closure, defaults, global data it reads, attributes."""
    sha = hashlib.sha256()
    for word in _words(thing, {}):
        sha.update(word.encode(errors="surrogatepass") + b"\0")
    return sha.hexdigest()[:32]


def _words(thing: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """A flat, unambiguous spelling of `thing`; objects met before are not spelt again.

    `seen` maps object ids to (number, object); holding the objects keeps their ids from being used again.
    """
    if isinstance(thing, _PLAIN) and type(thing) in _PLAIN:
        yield f"{type(thing).__name__} {thing!r}"
        return
    if id(thing) in seen:
        yield f"again {seen[id(thing)][0]}"
        return
    seen[id(thing)] = (len(seen), thing)
    parts = _parts(thing)
    if parts is None:
        yield f"object {_name(type(thing))} {id(thing)}"
        return
    yield f"{_name(type(thing))} {len(parts)}"
    for part in parts:
        yield from _words(part, seen)


def _parts(thing: Any) -> list[Any] | None:
    """What a thing is made of, or None if that cannot be told."""
    if isinstance(thing, types.FunctionType):
        return _function_parts(thing)
    if isinstance(thing, types.CodeType):
        return [thing.co_code, thing.co_names, thing.co_varnames, *thing.co_consts]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType):
        return [_name(thing)]
    return _data_parts(thing)


def _data_parts(thing: Any) -> list[Any] | None:
    if isinstance(thing, enum.Enum | pathlib.PurePath | range | re.Pattern | logging.Logger):
        return [thing.name if isinstance(thing, logging.Logger) else repr(thing)]
    if type(thing) in (tuple, list):
        return list(thing)
    if type(thing) in (set, frozenset):
        return sorted(digest(item) for item in thing)
    if type(thing) in (dict, types.MappingProxyType):
        return [part for item in thing.items() for part in item]
    return _object_parts(thing)


def _object_parts(thing: Any) -> list[Any] | None:
    """Class and state of an ordinary Python object. One that defines its own pickling hides state from us."""
    kind: Any = type(thing)
    if hasattr(kind, "_get_llm_string"):  # a LangChain model: its own cache key
        return [kind, thing._get_llm_string()]  # noqa: SLF001
    if hasattr(kind, "model_fields"):  # Pydantic
        return [kind, vars(thing), thing.__pydantic_extra__, thing.__pydantic_private__]
    if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
        return None
    try:
        _, made_from, state, items, pairs = thing.__reduce_ex__(2)
    except TypeError:
        return None
    call = getattr(kind, "__call__", None)  # noqa: B004
    code = call if isinstance(call, types.FunctionType) else None
    return [*made_from, code, state, list(items or ()), list(pairs or ())]


def _function_parts(function: types.FunctionType) -> list[Any]:
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    read = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    return [
        _name(function),
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        cells,
        [value for value in read if _is_own(value, function)],
    ]


def _is_own(value: Any, function: types.FunctionType) -> bool:
    """Whether a global is part of what the function says: data, or another function of its module."""
    if isinstance(value, types.FunctionType):
        return value.__module__ == function.__module__
    return not isinstance(value, type | types.ModuleType)


def _names(code: types.CodeType) -> list[str]:
    """Names of globals (and attributes) that a function's code and the functions in it use."""
    inner = [name for const in code.co_consts if isinstance(const, types.CodeType) for name in _names(const)]
    return sorted({*code.co_names, *inner})


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _plain_dataclass(thing: Any) -> bool:
    """Whether class and fields say it all: an importable dataclass whose fields are plain data."""
    if isinstance(thing, type) or not dataclasses.is_dataclass(thing):
        return False
    if "<locals>" in type(thing).__qualname__:  # a class made anew in each call of a function
        return False
    return all(_json_plain(value) for value in _fields(thing).values())


def _fields(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}


def _json_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_json_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _json_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", getattr(thing, "__name__", type(thing).__name__))
    return f"{module}.{name}" if module else str(name)
