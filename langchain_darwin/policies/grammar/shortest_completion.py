"""The few tokens that complete a constrained text, for texts that run out of tokens."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from langchain_darwin.policies.base import Constraint

_LONGEST_COMPLETION = 512  # tokens after which the greedy search gives up
_MOST_STATES = 256  # after which the breadth-first search gives up
_WORD = 32  # tokens per word of a mask

# What ends a structure soonest. Within a string, where letters fit, only its own end does; elsewhere quotes open one.
_IN_TEXT = '"'
_BETWEEN = ("}", "]", '"', "/")
_LETTERS = ("q", "z")
_XML_END = "\n</parameter>"


@dataclass(frozen=True, eq=False)
class Bounds:
    """The facts about one grammar that a completion needs.

    Attributes:
        usable: Int32 mask `[vocabulary / 32]` of the tokens that may be used at all.
        ends: Texts that end free text and tags; see `tag_ends`.
        known: Tokens found before, by the hash of the mask. No search is repeated.
    """

    usable: torch.Tensor
    ends: tuple[str, ...] = ()
    known: dict[int, list[int]] = field(default_factory=dict)


class ShortestCompletions:
    """Finds short completions over one vocabulary.

    The search is greedy at first, so a completion is short but not always the shortest. It closes what is open: a
    string by its quote, a tag's free text by the tag's end, an object or list by its bracket. Elsewhere (in a
    number, a pattern, a choice of words) it takes the token after which the fewest tokens are allowed.

    Args:
        pieces: Bytes of each token.
        end: The token that ends a response, or None.
        new_mask: Makes an all-true int32 mask `[1, vocabulary / 32]`.
    """

    def __init__(self, pieces: Sequence[bytes], end: int | None, new_mask: Callable[[], torch.Tensor]) -> None:
        self._end = end
        self._size = len(pieces)
        self._new_mask = new_mask
        self._ids = {piece: index for index, piece in reversed(list(enumerate(pieces)))}
        self._longest = max(map(len, self._ids), default=0)
        self._in_text = self._ids.get(_IN_TEXT.encode())
        self._between = [self._ids[text.encode()] for text in _BETWEEN if text.encode() in self._ids]
        self._letters = [self._ids[text.encode()] for text in _LETTERS if text.encode() in self._ids]
        self._blank = [self._ids[piece] for piece in (b" ", b"\n") if piece in self._ids]
        visible = [index for piece, index in self._ids.items() if len(piece) == 1 and _visible(piece)]
        self._single = [*visible, *self._blank]

    def find(self, matcher: Any, bounds: Bounds) -> tuple[int, ...] | None:
        """Return tokens that complete an xgrammar matcher's text, end token included; None if none are found.

        Args:
            matcher: The matcher; its state is not changed.
            bounds: The facts about its grammar.
        """
        if matcher.is_terminated():
            return ()
        return self._greedy(matcher, bounds) or self._breadth_first(matcher, bounds)

    def _greedy(self, matcher: Any, bounds: Bounds) -> tuple[int, ...] | None:
        state, path = matcher.fork(), list[int]()
        while len(path) < _LONGEST_COMPLETION:
            if state.is_completed():
                return self._ended(path)
            step = self._step(state, bounds)
            if not step or not _takes(state, step):
                return None
            path += step
        return None

    def _breadth_first(self, matcher: Any, bounds: Bounds) -> tuple[int, ...] | None:
        """Find the way that the greedy search misses where wrong tokens change nothing, as in `(a|c)*cca`."""
        queue: deque[tuple[Any, tuple[int, ...]]] = deque([(matcher.fork(), ())])
        states = 0
        while queue and states < _MOST_STATES:
            state, path = queue.popleft()
            words = self._words(state, bounds)
            for token in (token for token in self._single if _fits(words, token)):
                after, states = state.fork(), states + 1
                after.accept_token(token)
                if after.is_completed():
                    return self._ended((*path, token))
                queue.append((after, (*path, token)))
        return None

    def _ended(self, path: Sequence[int]) -> tuple[int, ...]:
        return (*path, *(() if self._end is None else (self._end,)))

    def _step(self, state: Any, bounds: Bounds) -> list[int]:
        """Return the next token or tokens; none if the grammar allows none."""
        words = self._words(state, bounds)
        if self._is_text(words):
            return self._ending(state, words, bounds) or self._narrowest(state, words, bounds)
        for way in (*map(self._spell, bounds.ends), *([token] for token in self._between)):
            if way and _fits(words, way[0]) and _takes(state.fork(), way):
                return way
        spelled = next(([token] for token in self._beginnings(_forced(state)) if _fits(words, token)), [])
        return spelled or self._narrowest(state, words, bounds)

    def _ending(self, state: Any, words: np.ndarray, bounds: Bounds) -> list[int]:
        """Return the tokens that end the free text around a state; none if nothing does."""
        quote = [] if self._in_text is None or not _fits(words, self._in_text) else [self._in_text]
        if quote and not bounds.ends:
            return quote
        return next(
            (way for way in (quote, *map(self._spell, bounds.ends)) if self._leaves_text(state, way, bounds)), []
        )

    def _leaves_text(self, state: Any, way: Sequence[int], bounds: Bounds) -> bool:
        after = state.fork()
        if not way or not _takes(after, way):
            return False
        return bool(after.is_completed()) or not self._is_text(self._words(after, bounds))

    def _narrowest(self, state: Any, words: np.ndarray, bounds: Bounds) -> list[int]:
        """Return the one-byte token after which the fewest tokens are allowed; else any allowed token."""
        seen = hash(words.tobytes())
        if seen not in bounds.known:
            single = [token for token in self._single if _fits(words, token)]
            ranks = [(*self._rank(state, words, token, bounds), token) for token in single]
            bounds.known[seen] = [min(ranks)[-1]] if ranks else self._any_token(words)
        return bounds.known[seen]

    def _rank(self, state: Any, words: np.ndarray, token: int, bounds: Bounds) -> tuple[bool, bool, int]:
        """Rank a token, best first: it changes the mask, is no white space, allows few tokens after it."""
        after = state.fork()
        after.accept_token(token)
        if after.is_completed():
            return False, False, 0
        allowed = self._words(after, bounds)
        width = int(np.unpackbits(allowed.view(np.uint8)).sum())
        return np.array_equal(allowed, words), token in self._blank, width

    def _any_token(self, words: np.ndarray) -> list[int]:
        """Return the first token that a mask allows; none if it allows none."""
        allowed = np.unpackbits(words.view(np.uint8), bitorder="little")[: self._size]
        return [int(allowed.argmax())] if allowed.any() else []

    def _words(self, state: Any, bounds: Bounds) -> np.ndarray:
        """Return the mask of a state.

        In numpy: torch hands sums this small to its threads, which takes longer than the sums.
        """
        bits = self._new_mask()
        state.fill_next_token_bitmask(bits, 0)
        words: np.ndarray = bits[0].numpy() & bounds.usable.numpy()
        return words

    def _is_text(self, words: np.ndarray) -> bool:
        return bool(self._letters) and all(_fits(words, letter) for letter in self._letters)

    def _beginnings(self, text: bytes) -> Iterator[int]:
        """Yield tokens that a text may begin with, the longest first."""
        found = (self._ids.get(text[:length]) for length in range(min(len(text), self._longest), 0, -1))
        return (token for token in found if token is not None)

    def _spell(self, text: str) -> list[int]:
        """Return a text in tokens, each as long as possible; none if that fails."""
        rest, tokens = text.encode(), list[int]()
        while rest:
            length, token = self._longest_beginning(rest)
            if not length:
                return []
            tokens.append(token)
            rest = rest[length:]
        return tokens

    def _longest_beginning(self, text: bytes) -> tuple[int, int]:
        lengths = range(min(len(text), self._longest), 0, -1)
        return next(((length, self._ids[text[:length]]) for length in lengths if text[:length] in self._ids), (0, 0))


def tag_ends(constraint: Constraint) -> tuple[str, ...]:
    """Return the texts that end the tags of a constraint, and parameters written as XML; innermost first."""
    if constraint.kind != "structural_tag":
        return ()
    return tuple(dict.fromkeys(_ends(json.loads(constraint.grammar))))


def _ends(form: Any) -> Iterator[str]:
    if isinstance(form, list):
        for each in form:
            yield from _ends(each)
    if not isinstance(form, dict):
        return
    if form.get("type") == "json_schema":  # a schema holds no forms
        yield from [_XML_END] if form.get("style") == "qwen_xml" else []
        return
    for each in form.values():
        yield from _ends(each)
    if form.get("type") == "tag" and form["end"]:
        yield form["end"]


def _takes(state: Any, way: Sequence[int]) -> bool:
    """Return True if a matcher accepts these tokens; its state is after them then."""
    return all(map(state.accept_token, way))


def _forced(state: Any) -> bytes:
    """Return the bytes that must follow; none within a character, where xgrammar's text is no UTF-8."""
    try:
        return bytes(state.find_jump_forward_string().encode())
    except UnicodeDecodeError:
        return b""


def _fits(words: np.ndarray, token: int) -> bool:
    return bool(words[token // _WORD] >> (token % _WORD) & 1)


def _visible(piece: bytes) -> bool:
    """Return True for a byte of visible ASCII; a backslash would only begin something longer."""
    return piece != b"\\" and 32 < piece[0] < 127
