"""What tells one reward from another: a short description and a digest of code and data.

Two rewards that could give different numbers must never look the same to a cache. What cannot be described (an open
file, a tensor, a lock), or is too large, matches nothing but itself, in this process alone. A
description is an aid of the cache: it takes a fraction of a second at most, and raises nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import itertools
import json
import logging
import pathlib
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

from langchain_darwin.runtime.fingerprints.object_numbers import number_of

_PLAIN = frozenset(map(id, (type(None), bool, int, float, complex, str, bytes)))  # a metaclass may compare as it likes
_MOST_WORDS = 20_000  # of a description: about a tenth of a second
_FLAT = 1_000  # longer collections of plain values are hashed in one go, which costs a twentieth of a word a value
_MOST_NESTED = 20  # sets in sets, and objects in sets that hold the set
_MOST_SHOWN = 10_000  # characters of a dataclass's fields

logger = logging.getLogger(__name__)


def identity_of(thing: Any) -> dict[str, Any]:
    """Return JSON-able facts about a callable: its own `identity()`, or its name and a digest of what it holds."""
    try:
        own = _own_identity(thing)
    except Exception:
        logger.exception("the identity() of %s failed; a digest takes its place", _name(type(thing)))
        own = None
    if own is not None:
        return own
    named = thing if isinstance(thing, types.FunctionType | types.BuiltinFunctionType) else type(thing)
    return {"reward": _name(named), "digest": digest(thing)}


def _own_identity(thing: Any) -> dict[str, Any] | None:
    """The description that a thing gives of itself: by a method `identity`, or as a dataclass of plain fields."""
    if hasattr(thing, "identity"):
        return dict(thing.identity())
    if not _plain_dataclass(thing):
        return None
    fields = json.dumps(_fields(thing))
    return {"reward": _name(type(thing)), **json.loads(fields)} if len(fields) <= _MOST_SHOWN else None


def digest(thing: Any) -> str:
    """Return a hash of a value, function or object: code, closure, defaults, global data it reads, attributes."""
    try:
        return _Walk().digest(thing)
    except _TooLargeError:
        return hashlib.sha256(_opaque(thing).encode()).hexdigest()[:32]


class _TooLargeError(Exception):
    """A description would take too long."""


class _Walk:
    """One description under way, with the words that it may still have."""

    def __init__(self) -> None:
        self._left = _MOST_WORDS
        self._nested = 0

    def digest(self, thing: Any) -> str:
        """Return the hash of the description."""
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise _TooLargeError
        sha = hashlib.sha256()
        for word in self._words(thing):
            sha.update(word.encode(errors="surrogatepass") + b"\0")
        self._nested -= 1
        return sha.hexdigest()[:32]

    def _words(self, thing: Any) -> Iterator[str]:
        """A flat, unambiguous spelling of `thing`; objects met before are not spelt again.

        `seen` maps object ids to (number, object); holding the objects keeps their ids from being used again.
        """
        seen: dict[int, tuple[int, Any]] = {}
        todo = [thing]
        while todo:
            thing = todo.pop()
            if id(type(thing)) in _PLAIN:
                yield self._plain(thing)
            elif id(thing) in seen:
                yield f"again {seen[id(thing)][0]}"
            else:
                seen[id(thing)] = (len(seen), thing)
                word, parts = self._spelt(thing)
                todo += reversed(parts)
                yield word
            self._spend(1)

    def _plain(self, value: Any) -> str:
        if isinstance(value, str | bytes) and len(value) > _FLAT:
            self._spend(len(value) // 10_000)
            spelt = value.encode(errors="surrogatepass") if isinstance(value, str) else value
            return f"{type(value).__name__} {len(value)} {hashlib.sha256(spelt).hexdigest()}"
        if type(value) is int and value.bit_length() > 10_000:  # Python refuses to write them in decimals
            return f"int {value:x}"
        return f"{type(value).__name__} {value!r}"

    def _spelt(self, thing: Any) -> tuple[str, list[Any]]:
        """The word for a thing, and what follows it."""
        try:
            if (flat := self._flat(thing)) is not None:
                return flat, []
            parts = self._parts(thing)
        except _TooLargeError:
            raise
        except Exception:  # noqa: BLE001 - its own code is asked how it is made, and may fail in any way
            parts = None
        return (_opaque(thing), []) if parts is None else (f"{_name(type(thing))} {len(parts)}", parts)

    def _parts(self, thing: Any) -> list[Any] | None:
        """The parts of a thing, or None if they cannot be told."""
        if type(thing) is set or type(thing) is frozenset:
            return sorted(self.digest(item) for item in thing)
        if _is_of("numpy", thing):
            return self._array_parts(thing)
        return None if _is_of("torch", thing) else _parts(thing)

    def _array_parts(self, array: Any) -> list[Any] | None:
        """Kind, shape and bytes of a NumPy array or scalar; those of objects are distinguished by themselves."""
        if not hasattr(array, "tobytes") or array.dtype.hasobject:
            return None
        self._spend(array.nbytes // 4_000)
        return [array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]

    def _flat(self, thing: Any) -> str | None:
        """The word for a long collection of plain values, or None for anything else."""
        kind = type(thing)
        if not any(kind is flat for flat in (set, frozenset, list, tuple, dict)) or len(thing) <= _FLAT:
            return None
        self._spend(len(thing) // 20)
        values = itertools.chain(thing, thing.values()) if kind is dict else thing
        if not all(id(type(value)) in _PLAIN for value in values):
            return None
        items = _sorted(thing) if kind is set or kind is frozenset else thing
        spelt = repr(items).encode(errors="surrogatepass")
        return f"{kind.__name__} {len(thing)} {hashlib.sha256(spelt).hexdigest()}"

    def _spend(self, words: int) -> None:
        self._left -= words
        if self._left < 0:
            raise _TooLargeError


def _sorted(values: set[Any] | frozenset[Any]) -> list[Any]:
    """Plain values in an order that is the same in every process."""
    return sorted(values) if all(type(value) is str for value in values) else sorted(map(repr, values))


def _opaque(thing: Any) -> str:
    return f"object {_name(type(thing))} {number_of(thing)}"


def _is_of(package: str, thing: Any) -> bool:
    """Return True if a class of an object's comes from that package."""
    return package in sys.modules and any(
        str(kind.__module__).partition(".")[0] == package for kind in type.mro(type(thing))
    )


def _parts(thing: Any) -> list[Any] | None:
    """The parts of a thing, or None if they cannot be told."""
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
    if type(thing) is tuple or type(thing) is list:
        return list(thing)
    if type(thing) is dict or type(thing) is types.MappingProxyType:
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
    """Return True if a global is part of what the function says: data, or another function of its module."""
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
    """Return True if class and fields say it all: an importable dataclass whose fields are plain data."""
    if isinstance(thing, type) or not dataclasses.is_dataclass(thing):
        return False
    if "<locals>" in type(thing).__qualname__:  # each call of a function makes another class
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
    try:
        module = getattr(thing, "__module__", None)
        name = getattr(thing, "__qualname__", getattr(thing, "__name__", type(thing).__name__))
    except Exception:  # noqa: BLE001 - a metaclass may do anything
        return "unnamed"
    return f"{module}.{name}" if module else str(name)
