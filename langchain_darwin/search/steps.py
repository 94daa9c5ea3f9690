"""Steps that several searches share. A search owns its loop; a step that changes its beams in a round may be here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeAlias

from langchain_darwin.search.base import Beam, Part, Remark, Replaced, Task, ranked

Pair: TypeAlias = tuple[Beam, Beam]
"""A beam to give up and the beam whose response takes its place."""

UNJUDGED = Remark("The reward left unfinished text unjudged: no selection in those rounds.")


def judged(beams: Iterable[Beam]) -> bool:
    """Return True if all of them have a reward, so that they can be compared."""
    return all(beam.reward is not None for beam in beams)


def complete_first(beams: Iterable[Beam]) -> list[Beam]:
    """Answers by reward, those that a deadline cut short last."""
    return sorted(ranked(beams), key=lambda beam: not beam.complete)


def take_over(
    task: Task, beams: Sequence[Beam], pairs: Iterable[Pair], *, keep_instruction: bool = False
) -> Part[list[Beam]]:
    """The beams of the next round: a copy of its donor in each receiver's place.

    A copy goes on under the instruction of its donor, or with `keep_instruction` of its receiver.
    """
    copies: dict[int, Beam] = {}
    for receiver, donor in pairs:
        copies[receiver.id] = copy = task.graft(donor, receiver) if keep_instruction else task.branch(donor)
        yield Replaced(receiver.id, donor.id, copy.id, donor.reward)
    return [copies.get(beam.id, beam) for beam in beams]


def resample(beams: Sequence[Beam], weights: Sequence[float], rng: Random) -> list[Pair]:
    """Systematic resampling: each receiver is a live beam that was drawn no time, each donor one drawn again.

    A beam with share w of the weights is drawn floor(n w) or ceil(n w) times. (Douc, Cappé and Moulines 2005,
    arXiv cs/0507025, section 2.4.) The first time, it stays where it is.
    """
    counts = systematic(weights, rng.random())
    donors = [beam for beam, count in zip(beams, counts, strict=True) for _ in range(count - 1)]
    receivers = [beam for beam, count in zip(beams, counts, strict=True) if beam.live and not count]
    return list(zip(receivers, donors, strict=False))


def systematic(weights: Sequence[float], offset: float) -> list[int]:
    """Return how many of n evenly spaced points, shifted by `offset` in [0, 1), fall to each of n weights."""
    scale = len(weights) / math.fsum(weights)
    counts, reached, total = [], 0, 0.0
    for weight in weights:
        total += weight * scale
        points = min(len(weights), max(0, math.ceil(total - offset)))
        counts.append(points - reached)
        reached = points
    return counts


def softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    """`exp(v_i / temperature)`, scaled to a sum of 1."""
    top = max(values)
    weights = [math.exp((value - top) / temperature) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def standardised(values: Sequence[float]) -> list[float]:
    """Distances from the mean in standard deviations; all 0 if the values are equal."""
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / spread if spread else 0.0 for value in values]
