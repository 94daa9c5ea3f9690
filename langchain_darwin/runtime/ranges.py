"""Checks that a setting lies in its range or among its choices."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from langchain_darwin.errors import ConfigurationError


def check_range(
    name: str, value: Any, *, low: float | None = None, high: float | None = None, low_open: bool = False
) -> None:
    """Raise `ConfigurationError` unless a value is a number, `low <= value <= high` (`low < value` if `low_open`)."""
    if not _is_number(value):
        msg = f"{name}={value!r} must be a number"
        raise ConfigurationError(msg)
    too_low = low is not None and (value < low or (low_open and value == low))
    too_high = high is not None and value > high
    if not (too_low or too_high or (not isinstance(value, numbers.Integral) and math.isnan(value))):
        return
    lower = "" if low is None else f"{'above' if low_open else 'at least'} {low:g}"
    upper = "" if high is None else f"at most {high:g}"
    msg = f"{name}={value!r} must be {' and '.join(filter(None, (lower, upper)))}"
    raise ConfigurationError(msg)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless `value` is one of `choices`."""
    if value not in choices:
        msg = f"{name}={value!r} must be one of {', '.join(map(repr, choices))}"
        raise ConfigurationError(msg)
