"""The Bradley-Terry model on features: which of two texts is preferred, by a weighted sum of their differences.

`P(a preferred to b) = sigmoid(w . (features(a) - features(b)))`; w maximises the likelihood of the pairs less
`l2 / 2 * |w|^2`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

_NEWTON_STEPS = 50


def fit(differences: Floats, l2: float) -> Floats:
    """Weights `[d]` for differences `[n, d]` of preferred and other, by Newton's method."""
    if differences.shape[1] > len(differences):  # the weights are a sum of the rows, so n numbers say it all
        basis = np.linalg.svd(differences, full_matrices=False)[2]
        found: Floats = basis.T @ fit(differences @ basis.T, l2)
        return found
    weights = np.zeros(differences.shape[1])
    for _ in range(_NEWTON_STEPS):
        doubt = _sigmoid(-differences @ weights)
        slope = differences.T @ doubt - l2 * weights
        curve = (differences * (doubt * (1 - doubt))[:, None]).T @ differences + l2 * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights += step
        if np.abs(step).max() <= 1e-8 * max(1.0, np.abs(weights).max()):
            break
    return weights


def right(differences: Floats, weights: Floats) -> Floats:
    """For each pair 1 if the preferred text gets the higher score, 0 if the lower, 0.5 for a tie."""
    margins = differences @ weights
    return np.where(margins == 0, 0.5, margins > 0)


def log_loss(differences: Floats, weights: Floats) -> float:
    """Mean negative log-likelihood of the pairs."""
    return float(np.logaddexp(0.0, -differences @ weights).mean())


def best_l2(differences: Floats, grid: Sequence[float], folds: int, seed: int) -> float:
    """The entry of `grid` with the lowest cross-validated log-loss."""
    if len(grid) == 1:
        return grid[0]

    def loss(l2: float) -> float:
        splits = split(len(differences), folds, seed)
        return sum(log_loss(differences[test], fit(differences[train], l2)) * len(test) for train, test in splits)

    return min(grid, key=loss)


def cross_validated(differences: Floats, grid: Sequence[float], folds: int, seed: int) -> Floats:
    """`right` for each pair, by weights fitted without its fold, for which `l2` was chosen without it too."""
    found = np.zeros(len(differences))
    for train, test in split(len(differences), folds, seed):
        known = differences[train]
        found[test] = right(differences[test], fit(known, best_l2(known, grid, folds, seed + 1)))
    return found


def split(count: int, folds: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Indices to train and to test on, for each fold."""
    fold_of = np.random.default_rng(seed).permutation(count) % folds
    for fold in range(folds):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -values))
