"""The boundary where a reward's failures become errors that name it, what it did and the way out."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_darwin.errors import DarwinError, RewardError, RewardTimeoutError


class ScoreWithParts(float):
    """A score that knows the scores it was made of; in all else a float.

    Rewards return it. The search takes it apart: beams, events, traces and metadata hold a plain float, and the
    parts beside it in a plain dict, because serializers take floats by their exact type.

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
    """The values as floats if they are one finite number per response; `RewardError` otherwise."""
    if inspect.iscoroutine(values):
        values.close()
        raise refused(name, "returned a coroutine", "declare it with `async def`")
    if hasattr(values, "tolist"):  # numpy, torch
        values = values.tolist()
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping | set):
        remedy = "return a list with one number per response, or decorate a function of one with @per_response"
        raise refused(name, f"returned {short(values)}", remedy)
    values = list(values)
    if len(values) != count:
        what = f"returned {len(values)} scores for {count} responses"
        raise refused(name, what, "return one number per response, in their order")
    return [_number(name, value, at, count) for at, value in enumerate(values, 1)]


def _number(name: str, value: Any, at: int, count: int) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return value if isinstance(value, ScoreWithParts) else number
    remedy = "every score must be a finite number; give a bad response a low one, such as -1000.0"
    raise refused(name, f"returned {short(value)} for response {at} of {count}", remedy)


Score = ScoreWithParts
"""The former name."""


@contextlib.contextmanager
def blame(name: str) -> Iterator[None]:
    """Turn an exception of the reward into a `RewardError`; the package's own errors pass."""
    try:
        yield
    except DarwinError:
        raise
    except Exception as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        what = f"raised {type(error).__name__}: {str(error)[:300]}{notes}"
        raise refused(name, what, "repair it, or repeat passing failures: as_reward(..., retries=3)") from error


def refused(name: str, what: str, remedy: str) -> RewardError:
    """The error for a reward that failed."""
    return RewardError(f"reward {name!r} {what}: {remedy}", reward=name)


def too_slow(name: str, seconds: float | None) -> RewardTimeoutError:
    """The error for a reward that took more than `seconds`; None: none were left when it was its turn."""
    within = f"within {seconds:.3g} s" if seconds else "in the time that was left"
    remedy = "give it more, as_reward(..., timeout=...), or make it faster"
    return RewardTimeoutError(f"reward {name!r} did not answer {within}: {remedy}", reward=name)


def short(value: Any) -> str:
    """A value for a message, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
