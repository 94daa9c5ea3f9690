"""What a search has done so far, gathered from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from langchain_darwin.search.base import (
    Beam,
    CycleStarted,
    Event,
    Finished,
    Grown,
    GrowthStarted,
    Mutated,
    Remark,
    Replaced,
    Scored,
    Started,
    TokensDrawn,
)


@dataclass
class Slot:
    """A place in the round, held by one beam after another.

    Attributes:
        beam: Who holds it, as last heard of.
        drawn: Tokens since then.
        origin: What happened to it last, for people.
    """

    beam: Beam
    drawn: list[int] = field(default_factory=list)
    origin: str = ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens so far."""
        return (*self.beam.tokens, *self.drawn)

    @property
    def state(self) -> str:
        """A word for its state: still being written, or how it ended."""
        return {None: "", "stop": "finished", "length": "full length", "timeout": "cut off"}[self.beam.finish]


@dataclass
class Progress:
    """What a search has done so far, gathered from its events.

    Attributes:
        slots: The places of the current cycle.
        best: The complete answer with the highest reward so far.
        low: Lowest reward seen.
        high: Highest reward seen.
    """

    search: str = ""
    instruction: str = ""
    cycle: int | None = None
    cycles: int | None = None
    round: int = 0
    doing: str = "starting"
    remark: str = ""
    slots: list[Slot] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    best: Beam | None = None
    low: float = 0.0
    high: float = 0.0
    decoded: int = 0
    growing: int = 0
    stopped: str | None = None
    _judged: bool = False

    @property
    def tokens(self) -> int:
        """Tokens decoded, those of the step under way included."""
        return self.decoded + self.growing

    @singledispatchmethod
    def note(self, event: Event) -> None:
        """Take an event into account."""

    @note.register
    def _start(self, event: Started) -> None:
        self.search = str(event.search.get("search", ""))
        self.cycles, self.instruction = event.search.get("cycles"), event.instruction

    @note.register
    def _cycle(self, event: CycleStarted) -> None:
        self.cycle, self.slots, self.doing = event.cycle, [], "rewriting the instruction"

    @note.register
    def _mutated(self, event: Mutated) -> None:
        why = [reason for reason in event.fallbacks if reason]
        made = len(event.fallbacks) - len(why)
        self.remark = f"{made} of {len(event.fallbacks)} instructions rewritten"
        if why:
            self.remark += f"; the others stay as they were ({why[0]})"

    @note.register
    def _growing(self, event: GrowthStarted) -> None:
        self.growing = 0
        asides = all(beam.aside for beam in event.beams)
        self.doing = "rewriting the instruction" if asides else "writing"
        self._seat(event.beams)

    @note.register
    def _draw(self, event: TokensDrawn) -> None:
        self.growing += len(event.tokens)
        for slot in self.slots:
            if slot.beam.id == event.beam:
                slot.drawn += event.tokens

    @note.register
    def _grown(self, event: Grown) -> None:
        self.decoded, self.growing = self.decoded + event.decoded, 0
        if not all(beam.aside for beam in event.beams):
            self.round, self.replaced, self.doing = self.round + 1, [], "judging"
            self._seat(event.beams)

    @note.register
    def _scored(self, event: Scored) -> None:
        self._seat(event.beams)
        rewards = [beam.reward for beam in event.beams if beam.reward is not None]
        if rewards:
            self.low = min(*rewards, self.low) if self._judged else min(rewards)
            self.high = max(*rewards, self.high) if self._judged else max(rewards)
            self._judged = True
        for beam in event.beams:
            if beam.complete and beam.reward is not None and beam.reward > reward_of(self.best):
                self.best = beam

    @note.register
    def _replace(self, event: Replaced) -> None:
        self.replaced.append(event)
        held = {slot.beam.id: slot.beam for slot in self.slots}
        for slot in self.slots:
            if slot.beam.id == event.receiver:
                donor = held.get(event.donor, slot.beam)
                slot.beam = replace(donor, id=event.beam, parent=event.donor, finish=None)
                slot.origin = f"copied from {event.donor} over {event.receiver}"

    @note.register
    def _remark(self, event: Remark) -> None:
        self.remark = event.text

    @note.register
    def _finish(self, event: Finished) -> None:
        self.doing, self.best, self.stopped = "done", event.outcome.best, event.stopped

    def _seat(self, beams: Iterable[Beam]) -> None:
        """Give each beam its slot; what is decoded beyond the round for the reward to see has none."""
        slots = {slot.beam.id: slot for slot in self.slots}
        for beam in beams:
            if beam.id in slots:
                slots[beam.id].beam, slots[beam.id].drawn = beam, []
            elif not beam.aside and beam.parent not in slots:
                self.slots.append(Slot(beam))


def reward_of(beam: Beam | None) -> float:
    """The reward, or minus infinity if there is none."""
    return float("-inf") if beam is None or beam.reward is None else beam.reward
