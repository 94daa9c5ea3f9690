import math
import random

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.statistics.intervals import Interval, bootstrap, by_prompt


def test_equal_values_leave_no_doubt():
    assert bootstrap([0.5] * 20) == Interval(0.5, 0.5, 0.5)
    assert bootstrap([2.0]) == Interval(2.0, 2.0, 2.0)


def test_two_values():
    """Half of the resamples hold both, a quarter each one of them twice."""
    assert bootstrap([0.0, 1.0]) == Interval(0.5, 0.0, 1.0)


def test_a_large_sample_has_the_interval_of_the_normal_distribution():
    rng = random.Random(1)
    values = [rng.gauss(3, 2) for _ in range(400)]
    found = bootstrap(values)
    mean = math.fsum(values) / 400
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values)) / 400
    assert found.mean == pytest.approx(mean)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.1 * error)


def test_draws_are_fixed_whatever_fits_into_memory(monkeypatch):
    values = [float(i * i % 7) for i in range(30)]
    whole = bootstrap(values)
    assert bootstrap(values) == whole
    monkeypatch.setattr("langchain_darwin.evaluation.statistics.intervals._AT_ONCE", 1000)
    assert bootstrap(values) == whole


def test_nothing_has_no_mean():
    with pytest.raises(ConfigurationError, match="no values to average"):
        bootstrap([])


def test_seeds_of_a_prompt_are_averaged_first():
    assert by_prompt([("b", 1.0), ("a", 5.0), ("b", 3.0)]) == {"a": 5.0, "b": 2.0}
