"""One response followed through its grammar.

A matcher's state forks in microseconds. A beam that is copied or continued needs a fork and no replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.grammar.shortest_completion import Bounds, ShortestCompletions

if TYPE_CHECKING:
    import torch

    from langchain_darwin.policies.base import Constraint

_WATCHED = 256  # from this many tokens before the limit on, a text is kept short enough to be completed in time


@dataclass(frozen=True, eq=False)
class CompiledGrammar:
    """A constraint, its grammar compiled by xgrammar, and the facts that completions need."""

    constraint: Constraint
    grammar: Any
    bounds: Bounds


class _Cut(NamedTuple):
    """A mark that a text of at most `limit` tokens is not as drawn from index `at` on."""

    at: int
    limit: int


class Matcher:
    """Follows one response through its grammar.

    Attributes:
        compiled: The grammar.
        tokens: Token ids accepted so far.
    """

    def __init__(self, compiled: CompiledGrammar, state: Any, completions: ShortestCompletions) -> None:
        """Begin with `state`, xgrammar's matcher before the first token."""
        self.compiled = compiled
        self.tokens: list[int] = []
        self._state = state
        self._completions = completions
        self._completion: tuple[int, ...] | None = None
        self._cut: _Cut | None = None

    @property
    def finished(self) -> bool:
        """True if the grammar is complete and an end token has been accepted."""
        return bool(self._state.is_terminated())

    @property
    def complete(self) -> bool:
        """True if the response could end here."""
        return bool(self._state.is_completed())

    def cut_short(self, left: int) -> bool:
        """Return True if tokens of this text were replaced so that it ends in time.

        Args:
            left: Number of tokens that could still follow.
        """
        return self._cut is not None and self._cut.limit == len(self.tokens) + left

    def shortest_completion(self) -> tuple[int, ...] | None:
        """Return few tokens that complete the text, end token included; None if none are known."""
        return self._completions.find(self._state, self.compiled.bounds)

    def fork(self, length: int | None = None) -> Matcher:
        """Return an independent matcher with the same tokens, or only the first `length` of them."""
        length = len(self.tokens) if length is None else length
        state = self._state.fork()
        if length < len(self.tokens):
            state.rollback(len(self.tokens) - length)
        twin = Matcher(self.compiled, state, self._completions)
        twin.tokens = self.tokens[:length]
        twin._cut = self._cut if self._cut and self._cut.at < length else None
        return twin

    def fill(self, bitmask: torch.Tensor, index: int) -> None:
        """Write the mask of allowed next tokens into row `index` of an int32 `[rows, vocabulary / 32]` mask."""
        self._state.fill_next_token_bitmask(bitmask, index)
        bitmask[index] &= self.compiled.bounds.usable

    def accept(self, token: int, left: int | None = None) -> int:
        """Append a token; the caller must use the one returned.

        Args:
            token: A token that the mask allows.
            left: Number of tokens that may follow this one, or None for no limit.

        Returns:
            `token`. If no completion within `left` tokens after it is known, the first token of the known completion
            of the text before it. A response is therefore complete when its tokens run out, if they suffice for the
            completion that is known at its start.

        Raises:
            InvalidRequestError: The grammar does not allow `token`.
        """
        if left is None or left >= _WATCHED or self.finished:
            self._take(token)
            self._completion = None
        else:
            token = self._take_in_time(token, left)
        self.tokens.append(token)
        return token

    def _take(self, token: int) -> None:
        if not self._state.accept_token(token):
            kind = self.compiled.constraint.kind
            msg = f"token {token} after {len(self.tokens)} tokens does not follow the {kind}"
            raise InvalidRequestError(msg)

    def _take_in_time(self, token: int, left: int) -> int:
        before = self._completion or self.shortest_completion()
        self._take(token)
        self._completion = self.shortest_completion()
        if not before or (self._completion is not None and len(self._completion) <= left):
            return token
        self._state.rollback(1)
        first, *rest = before
        self._state.accept_token(first)
        self._completion = tuple(rest)
        if first != token and not self.cut_short(left + 1):
            self._cut = _Cut(len(self.tokens), len(self.tokens) + 1 + left)
        return first
