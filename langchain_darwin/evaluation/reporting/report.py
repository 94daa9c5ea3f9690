"""From records to numbers: what each search reached, what it cost, and how far it is from Best-of-N at equal cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.records import POOL, ComparisonPlan, Cost, Failure, Record, Records, RunKey
from langchain_darwin.evaluation.statistics.equal_seconds import Timings, timings
from langchain_darwin.evaluation.statistics.intervals import Interval, bootstrap, by_prompt
from langchain_darwin.evaluation.statistics.order_statistics import Pool
from langchain_darwin.evaluation.statistics.paired import Paired, pair

_SHOWN = (1, 2, 3, 5, 10, 15, 20, 30, 50, 100)


@dataclass(frozen=True)
class Difference:
    """A search less Best-of-N at the same cost, prompt by prompt.

    Attributes:
        n: Mean n of that Best-of-N.
        reward: Paired difference.
        gold: Paired difference.
        above: Share of runs that spent more than the greatest n there is; that n is the reference then.
        below: Share of runs that spent less than the least n there is.
    """

    n: float
    reward: Interval
    gold: Interval
    above: float
    below: float


@dataclass(frozen=True)
class ReportRow:
    """One search.

    Attributes:
        label: Its name.
        configuration: Its class and fields.
        prompts: With at least one run that can be compared.
        runs: Those runs, over prompts and seeds.
        reward: Mean guiding reward.
        gold: Mean of the other measure.
        cost: Mean of each cost by its name in `records.Cost`, and `answer_tokens`, the length of the answer.
        equal_tokens: Against Best-of-N at equal policy tokens.
        equal_seconds: Against Best-of-N at equal seconds, or None where that cannot be told.
        to_first: Against the first search of the table; None for that one, or where nothing can be paired.
    """

    label: str
    configuration: Mapping[str, Any]
    prompts: int
    runs: int
    reward: Interval
    gold: Interval
    cost: Mapping[str, float]
    equal_tokens: Difference
    equal_seconds: Difference | None
    to_first: Paired | None = None


@dataclass(frozen=True)
class Point:
    """Best-of-n made of the pool.

    Attributes:
        n: Samples.
        tokens: Mean policy tokens.
        reward: Mean guiding reward.
        gold: Mean of the other measure, of what is taken by reward.
    """

    n: int
    tokens: float
    reward: Interval
    gold: Interval


@dataclass(frozen=True)
class Report:
    """What a comparison found.

    Attributes:
        header: Settings that all runs share, and names for people.
        prompts: How many were asked for.
        seeds: Of the comparison.
        runs: How many runs were asked for, the pool's among them.
        done: How many of them ended well.
        pool: Samples of the pool.
        at_once: Most runs that shared the machine.
        rows: One a search, in the order asked for; searches without a run are left out.
        curve: Best-of-n made of the pool, by n.
        failures: Runs that raised and have not succeeded since.
    """

    header: Mapping[str, Any]
    prompts: int
    seeds: tuple[int, ...]
    runs: int
    done: int
    pool: int
    at_once: int
    rows: tuple[ReportRow, ...]
    curve: tuple[Point, ...]
    failures: tuple[Failure, ...]

    def facts(self) -> dict[str, Any]:
        """The report as JSON-able facts."""
        return asdict(self)


def make_report(records: Records) -> Report:
    """Numbers of what was asked for last, as far as it is done.

    A run is compared if the pool of its prompt and seed is there.

    Raises:
        ConfigurationError: Nothing can be compared yet.
    """
    plan = records.plan
    if plan is None:
        raise ConfigurationError("the records hold no plan; run the comparison again with the same folder")
    runs = [records.done[key] for key in sorted(plan.keys()) if key in records.done]
    return Report(
        header=records.header,
        prompts=len(plan.prompts),
        seeds=plan.seeds,
        runs=len(plan.keys()),
        done=len(runs),
        pool=records.header["settings"]["pool"],
        at_once=max((record.at_once for record in runs), default=1),
        rows=_rows(plan, runs),
        curve=_curve(_pools(runs)),
        failures=tuple(records.failed[key] for key in sorted(plan.keys()) if key in records.failed),
    )


_Pools = Mapping[tuple[str, int], Pool]
"""By prompt and seed."""


def _pools(runs: Sequence[Record]) -> _Pools:
    return {(record.prompt, record.seed): Pool.of(record) for record in runs if record.search == POOL}


def _rows(plan: ComparisonPlan, runs: Sequence[Record]) -> tuple[ReportRow, ...]:
    pools, timed = _pools(runs), timings(runs)
    rows: list[ReportRow] = []
    first: list[Record] = []
    for label, search in plan.searches.items():
        own = [record for record in runs if record.search == search and (record.prompt, record.seed) in pools]
        if own:
            rows.append(_row(label, own, pools, timed, first))
            first = first or own
    return tuple(rows)


def _row(label: str, runs: Sequence[Record], pools: _Pools, timed: Timings, first: Sequence[Record]) -> ReportRow:
    return ReportRow(
        label=label,
        configuration=runs[0].configuration,
        prompts=len({record.prompt for record in runs}),
        runs=len(runs),
        reward=_interval(runs, lambda record: record.reward),
        gold=_interval(runs, lambda record: record.gold),
        cost=_cost(runs),
        equal_tokens=_equal_tokens(runs, pools),
        equal_seconds=_equal_seconds(runs, pools, timed),
        to_first=pair(runs, first),
    )


def _interval(runs: Sequence[Record], value: Callable[[Record], float]) -> Interval:
    return bootstrap(list(by_prompt((record.prompt, value(record)) for record in runs).values()))


def _mean(runs: Sequence[Record], value: Callable[[Record], float]) -> float:
    by_key = by_prompt((record.prompt, value(record)) for record in runs).values()
    return sum(by_key) / len(by_key)


def _cost(runs: Sequence[Record]) -> dict[str, float]:
    names = [entry.name for entry in fields(Cost)]
    means = {name: _mean(runs, lambda record, name=name: getattr(record.cost, name)) for name in names}  # type: ignore[misc]
    return {**means, "answer_tokens": _mean(runs, lambda record: sum(answer.tokens for answer in record.answers))}


def _equal_tokens(runs: Sequence[Record], pools: _Pools) -> Difference:
    def samples(record: Record) -> float:
        return pools[record.prompt, record.seed].samples_for(record.cost.decoded)

    wanted = {record.key: samples(record) for record in runs}
    size = next(iter(pools.values())).size
    above = sum(n > size for n in wanted.values()) / len(runs)
    below = sum(n < 1 for n in wanted.values()) / len(runs)
    return _difference(runs, pools, {key: min(max(n, 1.0), size) for key, n in wanted.items()}, above, below)


def _equal_seconds(runs: Sequence[Record], pools: _Pools, timed: Timings) -> Difference | None:
    """None if runs shared the machine, or only one n was timed."""
    bounds = {record.prompt: timed.bounds(record.prompt) for record in runs}
    known = {prompt: pair for prompt, pair in bounds.items() if pair is not None}
    if len(known) < len(bounds) or any(record.at_once > 1 for record in runs):
        return None
    wanted = {record.key: timed.samples_for(record.prompt, record.cost.seconds) for record in runs}
    above = sum(record.cost.seconds > known[record.prompt][1] for record in runs) / len(runs)
    below = sum(record.cost.seconds < known[record.prompt][0] for record in runs) / len(runs)
    return _difference(runs, pools, wanted, above, below)


def _difference(
    runs: Sequence[Record], pools: _Pools, wanted: Mapping[RunKey, float], above: float, below: float
) -> Difference:
    def of(record: Record) -> tuple[Pool, float]:
        return pools[record.prompt, record.seed], wanted[record.key]

    def reward(record: Record) -> float:
        pool, n = of(record)
        return record.reward - pool.reward(n)

    def gold(record: Record) -> float:
        pool, n = of(record)
        return record.gold - pool.gold(n)

    mean_n = _mean(runs, lambda record: wanted[record.key])
    return Difference(mean_n, _interval(runs, reward), _interval(runs, gold), above, below)


def _curve(pools: _Pools) -> tuple[Point, ...]:
    sizes = {pool.size for pool in pools.values()}
    largest = min(sizes, default=0)
    return tuple(_point(n, pools) for n in sorted({n for n in _SHOWN if n <= largest} | sizes))


def _point(n: int, pools: _Pools) -> Point:
    def mean(value: Callable[[Pool], float]) -> Interval:
        return bootstrap(list(by_prompt((prompt, value(pool)) for (prompt, _), pool in pools.items()).values()))

    tokens = mean(lambda pool: n * pool.tokens_a_sample).mean
    return Point(n, tokens, mean(lambda pool: pool.reward(n)), mean(lambda pool: pool.gold(n)))
