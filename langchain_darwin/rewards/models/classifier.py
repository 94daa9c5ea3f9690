"""A loaded sequence-classification model that scores conversations, computing only what it has not read before."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from langchain_darwin.inference.memory.forward import Forward, Inputs
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.out_of_memory import is_out_of_memory
from langchain_darwin.inference.ragged import is_ragged
from langchain_darwin.rewards.models.encoding import REMEMBERED, Encoder, Ids

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from transformers.cache_utils import Cache

_PROBE_TOKENS = 12
_PROBE_TOLERANCE = 0.05  # of the score; bfloat16 rounding stays below, another way of pooling does not


class Classifier:
    """A model and what it has computed. Safe in any thread: one call at a time.

    Attributes:
        tokens_processed: Tokens computed so far, padding not counted.
    """

    def __init__(self, model: Any, encoder: Encoder, label: int | None, batch_size: int) -> None:
        """Find out on a short text whether the model can be computed in pieces.

        Args:
            model: The transformers model, in evaluation mode.
            encoder: What makes its input.
            label: Number of the label to score, or None for a model with one output.
            batch_size: Most texts in one forward pass.
        """
        self.tokens_processed = 0
        self._model = model
        self._encoder = encoder
        self._label = label
        self._batch_size = batch_size
        self._pad = model.config.get_text_config().pad_token_id
        self._lock = threading.Lock()
        self._slots = self._empty_slots() if has_score_head(model) and self._agrees() else None
        self.tokens_processed = 0

    def score(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response, given the conversation."""
        with self._lock:
            texts = [self._encoder.encode(list(messages), response) for response in responses]
            order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            scores = dict.fromkeys(order, 0.0)
            for at in range(0, len(order), self._batch_size):
                batch = order[at : at + self._batch_size]
                scores |= zip(batch, self._outputs([texts[i] for i in batch]), strict=True)
            return [scores[i] for i in range(len(texts))]

    def _outputs(self, texts: list[Ids]) -> list[float]:
        """Scores of one batch; halves it where memory runs out."""
        try:
            logits = self._read(texts) if self._slots is None else self._read_on(self._slots, texts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self._slots is not None:
                self._slots = self._empty_slots()
            if len(texts) == 1:
                raise
            half = len(texts) // 2
            return self._outputs(texts[:half]) + self._outputs(texts[half:])
        return self._numbers(logits)

    def _read_on(self, slots: KVSlots, texts: list[Ids]) -> torch.Tensor:
        """Outputs `[len(texts), labels]`, computed behind what is in memory."""
        outputs, computed = slots.read([self._pooled_part(text) for text in texts])
        self.tokens_processed += computed
        return outputs

    @torch.inference_mode()
    def _read(self, texts: list[Ids]) -> torch.Tensor:
        """Outputs `[len(texts), labels]` of plain forward passes: one, or one per text if there is no padding."""
        self.tokens_processed += sum(map(len, texts))
        alone = [texts] if self._pad is not None else [[text] for text in texts]
        return torch.cat([self._forward(batch) for batch in alone])

    def _forward(self, texts: list[Ids]) -> torch.Tensor:
        width = max(map(len, texts))
        pad = self._pad or 0
        ids = torch.tensor([[*text, *[pad] * (width - len(text))] for text in texts], device=self._model.device)
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=ids.device)
        logits: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).logits
        return logits.float()

    def _pooled_part(self, text: Ids) -> Ids:
        """The text up to the token that the score is read at: transformers skips tokens like padding at the end."""
        end = len(text)
        while end > 1 and text[end - 1] == self._pad:
            end -= 1
        return text[:end]

    def _numbers(self, logits: torch.Tensor) -> list[float]:
        """The scores of outputs `[texts, labels]`, fetched from the device at once."""
        rows = logits.cpu()
        found = rows[:, self._label or 0]
        if self._label is not None:
            found = found - torch.cat([rows[:, : self._label], rows[:, self._label + 1 :]], dim=1).logsumexp(1)
        return [float(score) for score in found]

    def _empty_slots(self) -> KVSlots:
        return KVSlots(self._model, self._batch_size, remember=REMEMBERED, forward=_last_scores(self._model))

    @torch.inference_mode()
    def _agrees(self) -> bool:
        """Return True if scoring in pieces gives what the model's own forward does, on a short text."""
        vocabulary = self._model.config.get_text_config().vocab_size
        text = tuple(7 * i % vocabulary for i in range(1, _PROBE_TOKENS + 1))
        slots = self._empty_slots()
        try:
            self._read_on(slots, [text[: _PROBE_TOKENS // 2]])
            pieces, whole = self._read_on(slots, [text]), self._forward([text])
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            return False
        tolerance = _PROBE_TOLERANCE * max(1.0, float(whole.abs().max()))
        return bool((pieces - whole).abs().max() <= tolerance)


def has_score_head(model: Any) -> bool:
    """Return True for a decoder with plain keys and values whose hidden states go through a linear head `score`."""
    base = getattr(model, "base_model", None)
    if base is None or base is model or not isinstance(getattr(model, "score", None), torch.nn.Module):
        return False
    takes = inspect.signature(base.forward).parameters
    return {"past_key_values", "position_ids"} <= set(takes) and is_ragged(model.config)


def _last_scores(model: Any) -> Forward:
    """Outputs of the head at the last token of each row."""

    def forward(inputs: Inputs, cache: Cache) -> torch.Tensor:
        hidden = model.base_model(
            input_ids=inputs.ids,
            attention_mask=inputs.masks,
            position_ids=inputs.positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        scores: torch.Tensor = model.score(hidden[torch.arange(len(hidden), device=hidden.device), inputs.last])
        return scores.float()

    return forward
