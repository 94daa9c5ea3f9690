"""Numbers out of their range, and what is no number, are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_darwin import BestOfN, Sampling
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_choice, check_range


@pytest.mark.parametrize(
    ("value", "high"), [(1, 4), (2.5, 4), (4, 4), (np.float32(2), 4), (np.int64(3), 4), (10**400, None)]
)
def test_numbers_within(value, high):
    assert check_range("x", value, low=1, high=high) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "x=0 must be at least 1 and at most 4"),
        (10**400, "must be at least 1 and at most 4"),
        (float("nan"), "x=nan must be at least 1 and at most 4"),
        (np.float32("nan"), "must be at least 1 and at most 4"),
        (True, "x=True must be a number"),
        ("2", "x='2' must be a number"),
        (None, "x=None must be a number"),
        ([2], r"x=\[2\] must be a number"),
    ],
)
def test_what_is_refused(value, message):
    with pytest.raises(ConfigurationError, match=message):
        check_range("x", value, low=1, high=4)


@pytest.mark.parametrize(
    "make", [lambda: BestOfN(n="3"), lambda: BestOfN(n=True), lambda: Sampling(temperature="warm")]
)
def test_searches_and_sampling_name_the_setting(make):
    with pytest.raises(ConfigurationError, match="must be a number"):
        make()


def test_choices():
    assert check_choice("x", "a", ["a", "b"]) is None
    with pytest.raises(ConfigurationError, match="x='c' must be one of 'a', 'b'"):
        check_choice("x", "c", ["a", "b"])
