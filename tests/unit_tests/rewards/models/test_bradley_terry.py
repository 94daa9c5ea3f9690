"""The Bradley-Terry fit: it finds the weights that pairs were drawn from, whatever the shape of the data."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_darwin.rewards.models import bradley_terry


def drawn(count, width, seed=0):
    """Differences of pairs that were decided by known weights, and these."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=width) / np.sqrt(width) * 3
    differences = rng.normal(size=(count, width))
    lost = rng.random(count) > 1 / (1 + np.exp(-differences @ weights))
    differences[lost] *= -1
    return differences, weights


def gradient(differences, weights, l2):
    return differences.T @ (1 / (1 + np.exp(differences @ weights))) - l2 * weights


@pytest.mark.parametrize("shape", [(500, 5), (30, 80), (40, 40)])
@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_the_fit_is_the_maximum(shape, l2):
    differences, _ = drawn(*shape)
    weights = bradley_terry.fit(differences, l2)

    assert np.abs(gradient(differences, weights, l2)).max() < 1e-5


def test_the_fit_finds_the_weights():
    differences, truth = drawn(20_000, 4)

    assert bradley_terry.fit(differences, 1.0) == pytest.approx(truth, abs=0.1)


def test_noise_is_regularised_more_than_signal():
    signal, _ = drawn(2000, 4)
    noise = np.random.default_rng(1).normal(size=(60, 50))
    grid = (0.1, 10_000.0)

    assert bradley_terry.best_l2(signal, grid, 5, 0) < bradley_terry.best_l2(noise, grid, 5, 0)


def test_cross_validation_tells_signal_from_noise():
    signal, _ = drawn(600, 4)
    noise = np.random.default_rng(1).normal(size=(600, 4))
    right, guessed = (bradley_terry.cross_validated(each, (1.0, 100.0), 5, 0) for each in (signal, noise))

    assert right.mean() > 0.65
    assert 0.4 < guessed.mean() < 0.6


def test_parts_are_disjoint_and_cover_all():
    parts = list(bradley_terry.split(23, 5, seed=3))

    assert sorted(np.concatenate([test for _, test in parts])) == list(range(23))
    assert all(set(train).isdisjoint(test) and len(train) + len(test) == 23 for train, test in parts)


def test_a_tie_is_half_right():
    assert bradley_terry.right(np.array([[1.0], [-1.0], [0.0]]), np.array([2.0])).tolist() == [1.0, 0.0, 0.5]
