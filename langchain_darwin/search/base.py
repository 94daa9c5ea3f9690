"""The vocabulary of every search: what a search is, and the names that one is written with.

A search is a frozen dataclass with a method `run(task)`, a generator without input or output. It yields requests
and receives their results. It yields events and receives None. `search/driver/runner.py` drives it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from langchain_darwin.runtime.fingerprints import digest
from langchain_darwin.search.vocabulary.beam import Beam, Outcome, ranked
from langchain_darwin.search.vocabulary.events import (
    Archived,
    CycleStarted,
    Event,
    Finished,
    Grown,
    GrowthStarted,
    Mutated,
    Remark,
    Replaced,
    Scored,
    Started,
    TokensDrawn,
)
from langchain_darwin.search.vocabulary.requests import Extend, Grow, Propose, Request, Score
from langchain_darwin.search.vocabulary.task import Task

__all__ = [
    "Archived",
    "Beam",
    "CycleStarted",
    "Event",
    "Extend",
    "Finished",
    "Grow",
    "Grown",
    "GrowthStarted",
    "Mutated",
    "Outcome",
    "Part",
    "Propose",
    "Remark",
    "Replaced",
    "Request",
    "Score",
    "Scored",
    "Search",
    "Started",
    "Steps",
    "Task",
    "TokensDrawn",
    "describe",
    "ranked",
]

Steps: TypeAlias = Generator[Request | Event, Any, Outcome]
"""The type of `Search.run`."""

T = TypeVar("T")
Part: TypeAlias = Generator[Request | Event, Any, T]
"""A part of a search, to be run by `yield from`."""


@runtime_checkable
class Search(Protocol):
    """An algorithm. Its fields are its whole configuration; `run` keeps all state in local variables."""

    def run(self, task: Task) -> Steps:
        """Search for an answer to the task."""
        ...


def describe(search: Search) -> dict[str, Any]:
    """Return the search as JSON-able facts: its class name and its fields.

    Two searches that could give different answers never have the same facts. A function among the fields is
    identified by its code and by what that refers to. So is a class that is not of this package.
    """
    thing: Any = search
    facts: dict[str, Any] = {"search": type(search).__qualname__}
    code: list[Any] = [member for kind in type(search).__mro__ for member in _own_functions(kind)]
    if is_dataclass(thing):
        facts |= {entry.name: _described(getattr(thing, entry.name)) for entry in fields(thing)}
    else:
        code.append(thing)
    return {**facts, "digest": digest(code)} if code else facts


def _own_functions(kind: type) -> list[FunctionType]:
    """Functions of a class outside this package, without those that dataclasses generate."""
    if kind.__module__.startswith("langchain_darwin."):
        return []
    return [member for name, member in vars(kind).items() if isinstance(member, FunctionType) and name[:2] != "__"]


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_described(item) for item in value]
    if isinstance(value, Search) and not isinstance(value, type):
        return describe(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return {"name": name, "digest": digest(value)}
