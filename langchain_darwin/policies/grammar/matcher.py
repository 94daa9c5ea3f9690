"""Where one response stands in its grammar.

A matcher's state forks in microseconds, so a beam that is copied or continued costs a fork and not a replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.grammar.closing import Bounds, Closings

if TYPE_CHECKING:
    import torch

    from langchain_darwin.policies.base import Constraint

_WATCHED = 256  # tokens before the limit from which on a text is kept short enough to be closed in time


@dataclass(frozen=True, eq=False)
class CompiledGrammar:
    """A constraint, what xgrammar made of it, and what a closing of its texts must know."""

    constraint: Constraint
    grammar: Any
    bounds: Bounds


class _Cut(NamedTuple):
    """That a text of at most `limit` tokens is not as drawn from index `at` on, so that it ends in time."""

    at: int
    limit: int


class Matcher:
    """Follows one response through its grammar.

    Attributes:
        compiled: The grammar.
        tokens: Token ids accepted so far.
    """

    def __init__(self, compiled: CompiledGrammar, state: Any, closings: Closings) -> None:
        """Begin where `state`, xgrammar's matcher, stands before the first token."""
        self.compiled = compiled
        self.tokens: list[int] = []
        self._state = state
        self._closings = closings
        self._closing: tuple[int, ...] | None = None
        self._cut: _Cut | None = None

    @property
    def finished(self) -> bool:
        """Whether the grammar is complete and an end token has been accepted."""
        return bool(self._state.is_terminated())

    @property
    def complete(self) -> bool:
        """Whether the response could end here."""
        return bool(self._state.is_completed())

    def cut_short(self, left: int) -> bool:
        """Whether this is no text as it was drawn, but one that was closed for want of tokens.

        Args:
            left: How many tokens could still follow.
        """
        return self._cut is not None and self._cut.limit == len(self.tokens) + left

    def closing(self) -> tuple[int, ...] | None:
        """A short way from here to the end, end token included; None if unknown."""
        return self._closings.find(self._state, self.compiled.bounds)

    def fork(self, length: int | None = None) -> Matcher:
        """An independent matcher with the same tokens, or only the first `length` of them."""
        length = len(self.tokens) if length is None else length
        state = self._state.fork()
        if length < len(self.tokens):
            state.rollback(len(self.tokens) - length)
        twin = Matcher(self.compiled, state, self._closings)
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
            left: How many tokens may follow this one, or None for no limit.

        Returns:
            `token`, or, where the text could not be closed within `left` tokens after it, the first token of the
            closing of the text before it. So a response is complete when its tokens run out, if they suffice
            for the shortest one.

        Raises:
            InvalidRequestError: The grammar does not allow `token`.
        """
        if left is None or left >= _WATCHED or self.finished:
            self._take(token)
            self._closing = None
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
        before = self._closing or self.closing()
        self._take(token)
        self._closing = self.closing()
        if not before or (self._closing is not None and len(self._closing) <= left):
            return token
        self._state.rollback(1)
        first, *rest = before
        self._state.accept_token(first)
        self._closing = tuple(rest)
        if first != token and not self.cut_short(left + 1):
            self._cut = _Cut(len(self.tokens), len(self.tokens) + 1 + left)
        return first
