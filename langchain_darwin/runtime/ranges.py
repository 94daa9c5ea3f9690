"""Checks that a setting lies in its range or among its choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from langchain_darwin.errors import ConfigurationError


def check_range(
    name: str, value: float, *, low: float | None = None, high: float | None = None, low_open: bool = False
) -> None:
    """Raise `ConfigurationError` unless `low <= value <= high` (`low < value` if `low_open`)."""
    too_low = low is not None and (value < low or (low_open and value == low))
    too_high = high is not None and value > high
    if not (too_low or too_high or math.isnan(value)):
        return
    lower = "" if low is None else f"{'above' if low_open else 'at least'} {low:g}"
    upper = "" if high is None else f"at most {high:g}"
    msg = f"{name}={value!r} must be {' and '.join(filter(None, (lower, upper)))}"
    raise ConfigurationError(msg)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless `value` is one of `choices`."""
    if value not in choices:
        msg = f"{name}={value!r} must be one of {', '.join(map(repr, choices))}"
        raise ConfigurationError(msg)
