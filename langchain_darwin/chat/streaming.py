"""The part of an answer that is certain before the search has ended.

While a search runs, its answer can still be any continuation of a live beam, or a finished beam. Once no fresh
beam can become the answer (`Grow.last_roots`), the text that all of these share is committed. It is the
beginning of the final text whatever happens. So what is streamed always equals what `invoke` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from langchain_darwin.runtime.prefixes import settled, shared_length
from langchain_darwin.search.base import Beam, Event, Grown, GrowthStarted, Scored, TokensDrawn, ranked


@dataclass
class CommittedText:
    """Follows a search's events and knows the committed text.

    Attributes:
        text: Decodes a beam's response, cut at stop strings.
        stop: Strings that end a response; text that may be the beginning of one is held back.
        committed: Characters that are certain so far.
    """

    text: Callable[[Beam], str]
    stop: Sequence[str] = ()
    committed: str = ""
    _live: dict[int, Beam] = field(default_factory=dict)
    _done: dict[int, Beam] = field(default_factory=dict)
    _open: bool = True
    _shared: int = 0

    def feed(self, event: Event) -> str:
        """Take in an event; returns the text that it adds to what is committed."""
        match event:
            case GrowthStarted() | Grown():
                self._open = not event.last_roots
                self._settle(event.beams)
            case TokensDrawn():
                self._draw(event)
            case Scored():
                self._settle(event.beams)
        grows = isinstance(event, TokensDrawn | GrowthStarted | Grown)
        return self._advance() if grows and not self._open else ""

    def _draw(self, event: TokensDrawn) -> None:
        if event.beam in self._live:
            beam = self._live[event.beam]
            self._live[event.beam] = replace(beam, tokens=beam.tokens + event.tokens)

    def _settle(self, beams: Sequence[Beam]) -> None:
        """Only the beams named last are live; finished ones stay in the running."""
        answers = [beam for beam in beams if not beam.aside]
        if not answers:
            return
        self._done.update((beam.id, beam) for beam in answers if not beam.live)
        self._live = {beam.id: beam for beam in answers if beam.live}
        for ident in self._live:  # a finished candidate for this beam's next token was not chosen
            self._done.pop(ident, None)

    def _advance(self) -> str:
        """Commit what all candidates share. Token ids are compared, so a step costs no decoding without effect."""
        candidates = [*self._live.values(), *self._rivals()]
        shared = shared_length(*(beam.tokens for beam in candidates))
        if shared <= self._shared:
            return ""
        self._shared = shared
        text = self.text(replace(candidates[0], tokens=candidates[0].tokens[:shared]))
        certain = settled(text, self.stop)
        added = certain[len(self.committed) :]
        self.committed += added
        return added

    def _rivals(self) -> list[Beam]:
        """Finished beams that may still win: the best one judged, and all that are not judged yet."""
        judged = [beam for beam in self._done.values() if beam.reward is not None]
        return ranked(judged)[:1] + [beam for beam in self._done.values() if beam.reward is None]
