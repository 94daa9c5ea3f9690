"""Stop early: any search, ended by the first answer that is good enough."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Extend, Grow, Outcome, Part, Remark, Score, Search, Steps, Task, ranked


@dataclass(frozen=True)
class StopAt:
    """Runs a search until a finished answer has a reward of at least `threshold`.

    With `first`, a cheap search goes before. The other one runs only if no answer of the first is good enough. If
    none ever is, the better of both outcomes is the answer.

        StopAt(0.8, Darwin(cycles=3))                       # later cycles only while nothing passes
        StopAt(0.8, BestOfN(n=20, batch=4))                 # four more at a time
        StopAt(0.8, Darwin(), first=BestOfN(n=2))           # search only where two plain answers fail

    It checks the answers whenever the search asks for scores. So it can end only a search that judges finished
    answers before its end. It adds no cost of its own.

    Attributes:
        threshold: Reward that is enough.
        then: The search.
        first: The search before it, or None.
    """

    threshold: float
    then: Search
    first: Search | None = None

    def __post_init__(self) -> None:
        """Refuse what is not a search, and a threshold that is no number."""
        check_range("threshold", self.threshold)
        _check_search("then", self.then)
        if self.first is not None:
            _check_search("first", self.first)

    def run(self, task: Task) -> Steps:
        """The first search, then the other, each until an answer passes."""
        if self.first is None:
            return (yield from self._until(task, self.then, last=True))
        tried = yield from self._until(task, self.first, last=False)
        if self._passes(tried.best):
            return tried
        found = yield from self._until(task, self.then, last=True)
        better, other = (found, tried) if ranked([found.best, tried.best])[0] is found.best else (tried, found)
        return Outcome(better.beams + other.beams, found.seed or tried.seed)

    def _until(self, task: Task, search: Search, *, last: bool) -> Part[Outcome]:
        """All steps of a search, up to the score that is enough."""
        complete: dict[int, Beam] = {}
        with closing(search.run(task)) as steps:
            reply: Any = None
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    found: Outcome = end.value
                    return found
                if isinstance(step, Grow | Extend) and not last:
                    step = replace(step, last_roots=False)
                reply = yield step
                if isinstance(step, Score):
                    complete |= {beam.id: beam for beam in reply if beam.complete and not beam.aside}
                    if any(map(self._passes, complete.values())):
                        yield Remark(f"Stopped: an answer reached the reward {self.threshold:g}.")
                        return Outcome(tuple(ranked(complete.values())))

    def _passes(self, beam: Beam) -> bool:
        return beam.complete and beam.reward is not None and beam.reward >= self.threshold


def _check_search(name: str, search: Any) -> None:
    if isinstance(search, type) or not isinstance(search, Search):
        msg = f"{name}={search!r} is not a search; pass an instance, such as Darwin() or BestOfN(n=5)"
        raise ConfigurationError(msg)
