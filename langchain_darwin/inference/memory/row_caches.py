"""Memory of computed prefixes for models whose state cannot be cut or shared between rows: one cache a row.

Linear-attention and convolution layers keep a running state that has no columns to cut back to, so a state
can only be continued from exactly the tokens that it has seen. Slower than a shared cache: rows are computed
one by one.
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

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
        order = sorted(range(len(prefixes)), key=lambda index: len(prefixes[index]))
        opened: dict[int, Row] = {}
        for done, index in enumerate(order):
            later = [prefixes[other] for other in order[done + 1 :]]
            opened[index] = self._open(prefixes[index], later)
        rows = [opened[index] for index in range(len(prefixes))]
        return rows, self._logits(rows)

    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:  # noqa: ARG002 - uploads its own
        """Append `ids[i]` to `live[i]`; see `RowStore.step`."""
        for row, token in zip(self.live, ids, strict=True):
            row.tokens.append(token)
            self._extend(self._states[row], [token])
        return self._logits(self.live)

    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` and keep their states for later prefixes."""
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

    @torch.inference_mode()
    def _forward(self, state: _State, tokens: Sequence[int]) -> None:
        inputs = torch.tensor([list(tokens)], device=self._model.device)
        output = self._model(inputs, past_key_values=state.cache, **self._options)
        state.cache = output.past_key_values
        state.logits = output.logits[0, -1].float()
        state.tokens.extend(tokens)

    def _new_cache(self) -> Any:
        """An empty cache of the model's layers, or None for models that make their own."""
        supported = getattr(self._model, "_supports_default_dynamic_cache", bool)()
        return DynamicCache(config=self._model.config) if supported else None

    def _logits(self, rows: Sequence[Row]) -> torch.Tensor:
        return torch.stack([self._states[row].logits for row in rows])

    def _continues_in_chunks(self) -> bool:
        """Whether a state continued by several tokens at once is right: some models forget it then."""
        tokens = list(range(_PROBE_TOKENS))
        whole, parts = (_State([], self._new_cache(), torch.empty(0)) for _ in range(2))
        self._extend(whole, tokens)
        self._extend(parts, tokens[: _PROBE_TOKENS // 2])
        self._extend(parts, tokens[_PROBE_TOKENS // 2 :])
        gap = (whole.logits - parts.logits).abs().max()
        return bool(gap <= _PROBE_TOLERANCE * whole.logits.abs().max())
