"""Two searches held against each other directly, on the prompts and seeds that both were run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_darwin.evaluation.records import Record
from langchain_darwin.evaluation.statistics.intervals import Interval, bootstrap, by_prompt


@dataclass(frozen=True)
class Paired:
    """A search less another, whatever each of them cost.

    Attributes:
        prompts: That both were run on.
        tokens: Its policy tokens, as a multiple of the other's.
        reward: Paired difference.
        gold: Paired difference.
    """

    prompts: int
    tokens: float
    reward: Interval
    gold: Interval


def pair(runs: Sequence[Record], others: Sequence[Record]) -> Paired | None:
    """`runs` less `others`, paired by prompt and seed; None if no prompt and seed is in both."""
    matching = {(record.prompt, record.seed): record for record in others}
    pairs = [(run, matching[run.prompt, run.seed]) for run in runs if (run.prompt, run.seed) in matching]
    if not pairs:
        return None

    def difference(value: Callable[[Record], float]) -> Interval:
        found = by_prompt((run.prompt, value(run) - value(other)) for run, other in pairs)
        return bootstrap(list(found.values()))

    return Paired(
        prompts=len({run.prompt for run, _ in pairs}),
        tokens=sum(run.cost.decoded for run, _ in pairs) / max(1, sum(other.cost.decoded for _, other in pairs)),
        reward=difference(lambda record: record.reward),
        gold=difference(lambda record: record.gold),
    )
