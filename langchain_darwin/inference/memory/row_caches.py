"""Memory of computed prefixes for models whose state cannot be cut or shared between rows: one cache a row.

Linear-attention and convolution layers keep a running state that has no columns to cut back to. So a state
can only be continued from exactly the tokens that it has seen. Prefixes are therefore computed one by one. Steps read
the weights once for all live rows of the same length. Their caches are joined along the batch until a row comes or
goes. Rows of different lengths would need padding, which a running state cannot leave out, and take a pass each.
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache

from langchain_darwin.inference.memory.forward import attention_kernels
from langchain_darwin.inference.memory.rows import Row

_PROBE_TOKENS = 8
_PROBE_TOLERANCE = 0.02  # of the largest logit; bfloat16 rounding stays below, a forgotten state does not


@dataclass(eq=False)
class _State:
    """A transformers cache, the tokens that it has seen, and the float32 logits `[vocabulary]` after them."""

    tokens: list[int]
    cache: Any
    logits: torch.Tensor

    def copied(self) -> _State:
        return _State(list(self.tokens), copy.deepcopy(self.cache), self.logits)

    def begins(self, prefix: tuple[int, ...]) -> bool:
        return len(self.tokens) <= len(prefix) and tuple(self.tokens) == prefix[: len(self.tokens)]


class RowCaches:
    """A `RowStore` of one cache per row, for any causal model with `past_key_values`; used by one thread.

    Args:
        model: A transformers causal language model in evaluation mode.
        max_rows: Most live rows.
        max_idle: Most states kept of closed rows, the least recently used dropped first; default `max_rows`.
    """

    def __init__(self, model: Any, max_rows: int = 32, max_idle: int | None = None) -> None:
        self.live: list[Row] = []
        self.max_rows = max_rows
        self.max_idle = max_rows if max_idle is None else max_idle
        self._model = model
        self._states: dict[Row, _State] = {}
        self._idle: OrderedDict[int, _State] = OrderedDict()  # by id(state), least recently used first
        last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._options = {"use_cache": True, "return_dict": True, **({"logits_to_keep": 1} if last else {})}
        self._stepwise = False  # whether a state takes several tokens only one by one
        self._stepwise = not self._continues_in_chunks()
        self._joined: list[tuple[list[_State], Any]] = []  # live states whose caches are one now, and that cache
        self._joins = self._steps_together()

    def free(self, lengths: Sequence[int] = ()) -> int:  # noqa: ARG002 - states are not counted
        """Return how many more rows can be opened now."""
        return self.max_rows - len(self.live)

    def open(
        self,
        prefixes: Sequence[tuple[int, ...]],
        *,
        may_lag: bool = False,  # noqa: ARG002 - rows are computed one by one, so nothing would be saved
    ) -> tuple[list[Row], torch.Tensor]:
        """Make `prefixes` live: their rows, and float32 logits `[len(prefixes), vocabulary]` after each."""
        if len(prefixes) > self.free():
            msg = f"{len(prefixes)} rows asked for, but only {self.free()} of max_rows={self.max_rows} are free"
            raise ValueError(msg)
        self._part()
        order = sorted(range(len(prefixes)), key=lambda index: len(prefixes[index]))
        opened: dict[int, Row] = {}
        for done, index in enumerate(order):
            later = [prefixes[other] for other in order[done + 1 :]]
            opened[index] = self._open(prefixes[index], later)
        rows = [opened[index] for index in range(len(prefixes))]
        return rows, self._logits(rows)

    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:  # noqa: ARG002 - uploads its own
        """Append `ids[i]` to `live[i]`; see `RowStore.step`."""
        states = [self._states[row] for row in self.live]
        if not self._joined:
            self._joined = self._by_length(states)
        newest = dict(zip(map(id, states), ids, strict=True))
        self._joined = [(group, self._step(group, cache, newest)) for group, cache in self._joined]
        for row, token in zip(self.live, ids, strict=True):
            row.tokens.append(token)
        return self._logits(self.live)

    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` and keep their states for later prefixes."""
        self._part()
        for row in rows:
            self.live.remove(row)
            state = self._states.pop(row)
            self._idle[id(state)] = state
        while len(self._idle) > self.max_idle:
            self._idle.popitem(last=False)

    def _open(self, prefix: tuple[int, ...], later: Sequence[tuple[int, ...]]) -> Row:
        state = self._take(prefix, later)
        reused = len(state.tokens)
        self._extend(state, prefix[reused:])
        row = Row(tokens=list(prefix), prefilled=len(prefix) - reused, reused=reused)
        self._states[row] = state
        self.live.append(row)
        return row

    def _take(self, prefix: tuple[int, ...], later: Sequence[tuple[int, ...]]) -> _State:
        """A state that has seen a beginning of `prefix`, the longest known, for the caller to own.

        A live row's state, or one that `later` prefixes want too, is copied; another is handed over.
        """
        known = [state for state in (*self._idle.values(), *self._states.values()) if state.begins(prefix)]
        if not known:
            return _State([], self._new_cache(), torch.empty(0))
        best = max(known, key=lambda state: len(state.tokens))
        if id(best) not in self._idle:
            return best.copied()
        self._idle.move_to_end(id(best))
        if any(best.begins(other) for other in later):
            return best.copied()
        return self._idle.pop(id(best))

    def _extend(self, state: _State, tokens: Sequence[int]) -> None:
        whole = not (self._stepwise and state.tokens)
        for part in [tokens] if whole else [[token] for token in tokens]:
            if part:
                self._forward(state, part)

    def _forward(self, state: _State, tokens: Sequence[int]) -> None:
        logits, state.cache = self._run([tokens], state.cache)
        state.logits = logits[0]
        state.tokens.extend(tokens)

    @torch.inference_mode()
    def _run(self, tokens: Sequence[Sequence[int]], cache: Any) -> tuple[torch.Tensor, Any]:
        """Float32 logits `[B, vocabulary]` after `tokens` `[B, n]`, and the cache that has seen them."""
        inputs = torch.tensor([list(new) for new in tokens], device=self._model.device)
        with attention_kernels(self._model.device):
            output = self._model(inputs, past_key_values=cache, **self._options)
        return output.logits[:, -1].float(), output.past_key_values

    # ---- rows of the same length step together

    def _by_length(self, states: Sequence[_State]) -> list[tuple[list[_State], Any]]:
        """Groups of states that can step together, each with the cache of all; their own are let go."""
        groups: defaultdict[int, list[_State]] = defaultdict(list)
        for place, state in enumerate(states):
            groups[len(state.tokens) if self._joins else place].append(state)
        joined = []
        for group in groups.values():
            joined.append((group, _join([state.cache for state in group]) if len(group) > 1 else group[0].cache))
            for state in group:
                state.cache = None
        return joined

    def _step(self, group: Sequence[_State], cache: Any, newest: dict[int, int]) -> Any:
        """Append a token to each state of a group, `newest[id(state)]`; the cache that has seen them."""
        logits, cache = self._run([[newest[id(state)]] for state in group], cache)
        for row, state in enumerate(group):
            state.logits = logits[row]
            state.tokens.append(newest[id(state)])
        return cache

    @torch.inference_mode()
    def _part(self) -> None:
        """Give each live state a cache of its own again."""
        for group, cache in self._joined:
            for row, state in enumerate(group):
                state.cache = _part(cache, row) if len(group) > 1 else cache
        self._joined = []

    def _steps_together(self) -> bool:
        """Return True if joined caches give two texts the logits that each gets by itself."""
        pair = [_State([], self._new_cache(), torch.empty(0)) for _ in range(2)]
        for state, first in zip(pair, (0, _PROBE_TOKENS), strict=True):
            self._extend(state, range(first, first + _PROBE_TOKENS))
        alone = [state.copied() for state in pair]
        for state in alone:
            self._extend(state, [1])
        try:
            cache = _join([state.cache for state in pair])
            for row in range(2):
                pair[row].cache = _part(cache, row)
            logits, _ = self._run([[1], [1]], _join([state.cache for state in pair]))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
        expected = torch.stack([state.logits for state in alone])
        return bool((logits - expected).abs().max() <= _PROBE_TOLERANCE * expected.abs().max())

    def _new_cache(self) -> Any:
        """An empty cache of the model's layers, or None for models that make their own."""
        supported = getattr(self._model, "_supports_default_dynamic_cache", bool)()
        return DynamicCache(config=self._model.config) if supported else None

    def _logits(self, rows: Sequence[Row]) -> torch.Tensor:
        return torch.stack([self._states[row].logits for row in rows])

    def _continues_in_chunks(self) -> bool:
        """Return True if a state continued by several tokens at once is right: some models forget it then."""
        tokens = list(range(_PROBE_TOKENS))
        whole, parts = (_State([], self._new_cache(), torch.empty(0)) for _ in range(2))
        self._extend(whole, tokens)
        self._extend(parts, tokens[: _PROBE_TOKENS // 2])
        self._extend(parts, tokens[_PROBE_TOKENS // 2 :])
        gap = (whole.logits - parts.logits).abs().max()
        return bool(gap <= _PROBE_TOLERANCE * whole.logits.abs().max())


def _join(parts: Sequence[Any]) -> Any:
    """Make one cache of caches that have seen equally many tokens: tensors joined along the batch, all else alike."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(parts)) if first.dim() else first
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [_join(each) for each in zip(*parts, strict=True)]
    if _is_cache(first):
        whole = copy.copy(first)
        whole.__dict__.update(_join([vars(part) for part in parts]))
        return whole
    return first


def _part(whole: Any, row: int) -> Any:
    """Make a cache of one row of a joined one."""
    if isinstance(whole, torch.Tensor):
        return whole[row : row + 1].clone() if whole.dim() else whole
    if isinstance(whole, dict):
        return {key: _part(value, row) for key, value in whole.items()}
    if isinstance(whole, list):
        return [_part(each, row) for each in whole]
    if _is_cache(whole):
        part = copy.copy(whole)
        part.__dict__.update(_part(vars(whole), row))
        return part
    return whole


def _is_cache(value: Any) -> bool:
    """Return True for caches and their layers, of which those with running states have no common base class."""
    return isinstance(value, Cache) or type(value).__module__ == Cache.__module__
