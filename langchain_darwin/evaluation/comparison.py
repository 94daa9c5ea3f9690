"""Searches compared on the same prompts at equal cost: what is run, in which order, and how it goes on after a kill."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_darwin._version import __version__
from langchain_darwin.chat_models import ChatDarwin
from langchain_darwin.errors import (
    ConfigurationError,
    DarwinError,
    MissingDependencyError,
    ModelNotFound,
    UnsupportedModelError,
)
from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet
from langchain_darwin.evaluation.journal import Journal, open_journal
from langchain_darwin.evaluation.records import POOL, ComparisonPlan, Failure, Record, read_records
from langchain_darwin.evaluation.reporting.report import Report, make_report
from langchain_darwin.evaluation.runs import Bench, Run
from langchain_darwin.rewards.accepting import as_reward
from langchain_darwin.runtime.fingerprints import digest
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Search, describe
from langchain_darwin.search.best_of_n import BestOfN

logger = logging.getLogger(__name__)

Watch = Callable[[Record | Failure, int, int], None]
"""Called after every run with its record, how many runs have ended, and how many there are."""

_HOPELESS = (ConfigurationError, ModelNotFound, UnsupportedModelError, MissingDependencyError)
"""Errors that every other run would meet as well."""

_TOO_MANY = 5  # prompts that fail in a row: an endpoint is down, say


@dataclass(frozen=True)
class Comparison:
    """What is compared on what.

    Attributes:
        model: The chat model with its policy, guiding reward and sampling; its own search, seed and n do not matter.
        prompts: What is asked.
        searches: By label, in the order of the tables.
        gold: A measure other than the guiding reward, in any form that `as_reward` takes. No search sees it.
        seeds: Each prompt is run once with each.
        pool: Plain samples of each prompt and seed; Best-of-n of up to so many is the reference.
        limit: How many prompts, from the first; None for all.
    """

    model: ChatDarwin
    prompts: PromptSet
    searches: Mapping[str, Search]
    gold: Any
    seeds: tuple[int, ...] = (0,)
    pool: int = 20
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        check_range("pool", self.pool, low=2)
        if self.limit is not None:
            check_range("limit", self.limit, low=1)
        if not self.searches:
            raise ConfigurationError("searches is empty; name at least one, such as {'darwin': Darwin()}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigurationError(f"seeds={self.seeds!r} must be at least one number, none of them twice")
        self._check_searches()
        if as_reward(self.gold).identity() == as_reward(self.model.reward).identity():
            name = as_reward(self.gold).name
            msg = f"gold={name!r} is the guiding reward itself, and would say nothing new; give another measure as gold"
            raise ConfigurationError(msg)

    @cached_property
    def chosen(self) -> tuple[Prompt, ...]:
        """The prompts up to the limit."""
        return self.prompts.prompts[: self.limit]

    @cached_property
    def plan(self) -> ComparisonPlan:
        """Searches by their digests, keys and seeds."""
        digests = {label: _digest(search) for label, search in self.searches.items()}
        return ComparisonPlan(digests, tuple(prompt.key for prompt in self.chosen), self.seeds)

    def header(self) -> dict[str, Any]:
        """Return what must not change between two runs of one comparison, and names for people.

        Prompts, searches and seeds may be added.
        """
        changing = ("search", "seed", "n")
        settings = {name: value for name, value in self.model.asdict().items() if name not in changing}
        gold, reward = as_reward(self.gold), as_reward(self.model.reward)
        names = {"prompts": self.prompts.name, "reward": reward.name, "gold": gold.name}
        shared = {"version": __version__, "prompts": self.prompts.digest, "pool": self.pool, "gold": gold.identity()}
        return {"settings": {**settings, **shared}, "names": names}

    def runs(self) -> Iterator[Run]:
        """Every run, in the order of the plan."""
        prompts = {prompt.key: prompt for prompt in self.chosen}
        labels = {code: label for label, code in self.plan.searches.items()}
        for key in self.plan.keys():  # noqa: SIM118 - a method of the plan, not of a mapping
            if key.search == POOL:
                yield Run(key, POOL, prompts[key.prompt], BestOfN(n=self.pool), candidates=self.pool)
            else:
                label = labels[key.search]
                yield Run(key, label, prompts[key.prompt], self.searches[label])

    def _check_searches(self) -> None:
        seen: dict[str, str] = {}
        for label, search in self.searches.items():
            thing: Any = search
            if isinstance(thing, type) or not isinstance(thing, Search):
                msg = f"searches[{label!r}]={search!r} is not a search; pass an instance, such as Darwin()"
                raise ConfigurationError(msg)
            other = seen.setdefault(_digest(search), label)
            if other != label:
                raise ConfigurationError(f"searches {other!r} and {label!r} are the same; leave one of them out")


def compare(comparison: Comparison, out: str | Path, *, at_once: int = 4, watch: Watch | None = None) -> Report:
    """Run what has not been run yet, and report on everything.

    Every run is a line in `records.jsonl` in the folder as soon as it has ended. A comparison that was killed
    continues where it was. Its final numbers are the same in float32, up to the rounding of other texts in the batch.
    A run that raises is recorded, does not stop the others and is tried again by the next call.

    Args:
        comparison: What is compared on what.
        out: Folder of the records.
        at_once: Runs at the same time; they share the policy's batch. Seconds mean little above 1.
        watch: Called for every run that ends.

    Returns:
        The report; `report_files` makes files of it, `tables` text.

    Raises:
        ConfigurationError: The folder holds a comparison with other settings.
        ModelNotFound, MissingDependencyError, UnsupportedModelError: Nothing can be run at all.
    """
    return asyncio.run(acompare(comparison, out, at_once=at_once, watch=watch))


async def acompare(comparison: Comparison, out: str | Path, *, at_once: int = 4, watch: Watch | None = None) -> Report:
    """As `compare`, for callers with an event loop of their own."""
    check_range("at_once", at_once, low=1)
    with open_journal(Path(out), comparison.header()) as journal:
        journal.plan(comparison.plan)
        bench = await asyncio.to_thread(_bench, comparison, at_once)
        await _run_all(comparison, bench, journal, watch)
    return make_report(read_records(out))


def _bench(comparison: Comparison, at_once: int) -> Bench:
    """The model and the measures with the policy loaded, which stays loaded until the end."""
    policy, _ = comparison.model.policy_of(comparison.model.model)
    policy.codec.encode_text("")
    model = comparison.model.model_copy(update={"model": policy, "cache": False})
    return Bench(model, as_reward(model.reward).bind(policy), as_reward(comparison.gold).bind(policy), at_once)


async def _run_all(comparison: Comparison, bench: Bench, journal: Journal, watch: Watch | None) -> None:
    """Run what is not done, `at_once` at a time; what failed before comes last."""
    runs = list(comparison.runs())
    left = [run for run in runs if run.key not in journal.records.done]
    ended = len(runs) - len(left)
    waiting = iter(sorted(left, key=lambda run: run.key in journal.records.failed))
    failing: set[str] = set()

    async def work() -> None:
        nonlocal ended
        for run in waiting:
            line = await _attempt(bench, run)
            journal.add(line)
            ended += 1
            if watch:
                watch(line, ended, len(runs))
            if isinstance(line, Record):
                failing.clear()
            elif line.key not in journal.records.failed:
                _note_failure(failing, line)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(bench.at_once):
                workers.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def _note_failure(failing: set[str], line: Failure) -> None:
    """Stop when so many prompts in a row have failed that they are probably not the cause."""
    failing.add(line.prompt)
    if len(failing) >= _TOO_MANY:
        msg = f"{len(failing)} prompts in a row failed, the last with {line.error}; repair that and run it again"
        raise DarwinError(msg)


async def _attempt(bench: Bench, run: Run) -> Record | Failure:
    try:
        return await bench.run(run)
    except _HOPELESS:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it was, the other prompts can be run
        logger.warning("prompt %s, %s, seed %d failed: %s", run.prompt.key, run.label, run.key.seed, error)
        return Failure(*run.key[:2], run.label, run.key.seed, f"{type(error).__name__}: {error}")


def _digest(search: Search) -> str:
    return digest(describe(search))[:12]
