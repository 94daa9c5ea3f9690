"""Built-in types only: the border to traces, caches, checkpoints and LangSmith."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

_EXACT = (bool, int, float, str, type(None))
_BASES: Mapping[type, Callable[[Any], Any]] = MappingProxyType({int: int, float: float, str: str.__str__})


def plain(value: Any) -> Any:
    """The value in JSON's types, exactly those: no subclass, no number of numpy or torch, no nan.

    Mappings become dicts with texts as keys, other collections lists, dataclasses dicts with the class's name first,
    and what is none of these its name.
    """
    if type(value) is float and not math.isfinite(value):
        return None
    if type(value) in _EXACT:
        return value
    for kind, base in _BASES.items():
        if isinstance(value, kind):
            return plain(base(value))
    if isinstance(value, Mapping):
        return {key if type(key) is str else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [plain(item) for item in value]
    return _object(value)


def _object(value: Any) -> Any:
    if not isinstance(value, type) and dataclasses.is_dataclass(value):
        facts = {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
        return {"search" if callable(getattr(value, "run", None)) else "type": type(value).__qualname__, **facts}
    listed = getattr(value, "tolist", None)  # numpy and torch
    if callable(listed) and not isinstance(value, type):
        return plain(listed())
    return str(getattr(value, "__qualname__", type(value).__qualname__))
