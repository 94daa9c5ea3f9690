"""The boundary where a reward's failures become errors that name it, what it did and the way out."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from langchain_darwin.errors import DarwinError, RewardError, RewardTimeoutError


class ScoreWithParts(float):
    """A score that knows the scores it was made of; in all else a float.

    Rewards return it. The search takes it apart. Beams, events, traces and metadata hold a plain float, with the
    parts in a plain dict, because serializers take floats by their exact type.

    Attributes:
        parts: Name to score, unweighted, in order; empty in a number computed from scores.
    """

    parts: Mapping[str, float]

    def __new__(cls, value: float, parts: Mapping[str, float] = MappingProxyType({})) -> ScoreWithParts:  # noqa: PYI034
        """Attach the parts."""
        score = super().__new__(cls, value)
        score.parts = dict(parts)
        return score

    def __getnewargs__(self) -> tuple[float, Mapping[str, float]]:  # type: ignore[override]
        """For copies and pickles."""
        return (float(self), self.parts)


def checked(name: str, values: Any, count: int) -> list[float]:
    """Return the values as floats if they are one finite number per response; `RewardError` otherwise.

    Taken are lists, tuples, generators and arrays of numbers, and rows of one number each, such as an `(n, 1)` array.
    """
    if inspect.iscoroutine(values):
        values.close()
        raise refused(name, "returned a coroutine", "declare it with `async def`")
    scores = _listed(name, values, count)
    if len(scores) != count:
        several = f"{len(scores)} scores" if len(scores) <= count else f"more than {count} scores"
        remedy = "return one number per response, in their order"
        raise refused(name, f"returned {several} for {count} responses", remedy)
    return [_number(name, score, at, count) for at, score in enumerate(scores, 1)]


def _listed(name: str, values: Any, count: int) -> list[Any]:
    """The values as a list, of which no more is read than it takes to see that there are too many."""
    shown = _shape(values)
    values = _plain(values)
    if not isinstance(values, Iterable) or isinstance(values, _NO_LISTS):
        remedy = "return a list with one number per response, or decorate a function of one with @per_response"
        raise refused(name, f"returned {shown}", remedy)
    scores = [_single(value) for value in itertools.islice(values, count + 1)]
    if any(isinstance(score, list | tuple | Mapping) for score in scores):
        what = f"returned {shown} for {count} response{'s' * (count != 1)}"
        raise refused(name, what, f"return one number per response: a list of {count}, or an array of shape ({count},)")
    return scores


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, their scalars as numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


def _single(value: Any) -> Any:
    """The number in a row of one."""
    value = _plain(value)
    while isinstance(value, list | tuple) and len(value) == 1:
        value = _plain(value[0])
    return value


def _shape(values: Any) -> str:
    """The returned value, for a message: arrays by their shape, all else as it looks."""
    shape = getattr(values, "shape", None)
    return f"{type(values).__name__} of shape {tuple(shape)}" if shape else short(values)


def _number(name: str, value: Any, at: int, count: int) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return value if isinstance(value, ScoreWithParts) else number
    remedy = "every score must be a finite number; give a bad response a low one, such as -1000.0"
    raise refused(name, f"returned {short(value)} for response {at} of {count}", remedy)


_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, set, frozenset)


Score = ScoreWithParts
"""The former name."""


class blame:  # noqa: N801 - read as a statement: `with blame(name):`
    """Turn a failure of the reward into a `RewardError` that names it; the package's own errors pass.

    Not a generator: contextlib would hand a `StopIteration` on as it is, which ends generators and hangs futures.

    Args:
        name: The reward's.
        awaited: Whether the block awaits, so that what ends it may come from outside: its task may be cancelled, or
            its coroutine closed.
    """

    def __init__(self, name: str, *, awaited: bool = False) -> None:
        self._name = name
        self._awaited = awaited

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise the `RewardError` in place of what the block raised."""
        if error is None or not self._is_failure(error):
            return
        raised = _as_raised(error)
        notes = {note: None for each in (raised, error) for note in getattr(each, "__notes__", ())}
        said = f": {str(raised)[:300]}" if str(raised) else ""
        what = f"raised {type(raised).__name__}{said}{''.join(f' ({note})' for note in notes)}"
        raise refused(self._name, what, _remedy(raised)) from raised

    def _is_failure(self, error: BaseException) -> bool:
        """False for what ends the program or the call, and for errors that say everything already."""
        if isinstance(error, asyncio.CancelledError):
            return not self._awaited or not _is_being_cancelled()
        if isinstance(error, GeneratorExit):
            return not self._awaited
        if isinstance(error, BaseExceptionGroup):
            return error.subgroup((KeyboardInterrupt, SystemExit)) is None
        return isinstance(error, Exception) and not isinstance(error, DarwinError)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _as_raised(error: BaseException) -> BaseException:
    """The `StopIteration` that a coroutine or generator made a `RuntimeError` of, or the error."""
    cause = error.__cause__
    wrapped = type(error) is RuntimeError and isinstance(cause, StopIteration | StopAsyncIteration)
    return cause if wrapped and cause is not None else error


def _remedy(error: BaseException) -> str:
    if isinstance(error, StopIteration):
        return "it took the next of nothing: give next() a default"
    return "repair it, or repeat passing failures: as_reward(..., retries=3)"


def refused(name: str, what: str, remedy: str) -> RewardError:
    """The error for a reward that failed."""
    return RewardError(f"reward {name!r} {what}: {remedy}", reward=name)


def too_slow(name: str, seconds: float | None) -> RewardTimeoutError:
    """The error for a reward that took more than `seconds`; None: none were left when it was its turn."""
    within = f"within {seconds:.3g} s" if seconds else "in the time that was left"
    remedy = "give it more, as_reward(..., timeout=...), or make it faster"
    return RewardTimeoutError(f"reward {name!r} did not answer {within}: {remedy}", reward=name)


def name_of(judge: Any) -> str:
    """Return the name of a function, of what a `partial` fills in, or of an object's class."""
    judge = getattr(judge, "func", judge) if isinstance(judge, functools.partial) else judge
    return str(getattr(judge, "__name__", None) or type(judge).__name__)


def short(value: Any) -> str:
    """A value for a message, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
