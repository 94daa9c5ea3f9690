"""What a language model makes of a conversation with an answer: its hidden states, pooled to plain numbers."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch

from langchain_darwin.errors import ConfigurationError, ContextOverflowError
from langchain_darwin.inference.chat_codec import end_of_turn_id
from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.inference.loading import LoadedModel, load_model
from langchain_darwin.inference.memory.forward import Inputs
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.rewards.models.encoding import REMEMBERED, Ids, ever_shorter
from langchain_darwin.rewards.transcript import content, turns

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from numpy.typing import NDArray
    from transformers.cache_utils import Cache

_DEPTH = 0.8  # of the layers: the last ones turn to the next token, and features before them preferred better
_ROWS = 8  # texts computed at a time

Pooling: TypeAlias = Literal["mean", "last"]


class Features:
    """Hidden states after one layer of a frozen model, pooled over an answer's turn. Safe in any thread.

    Of a text that has grown, or shares its beginning with another, only the rest is computed. That does not hold if
    the model has layers without plain keys and values. Layers above the one that is read are not computed at all.
    The weights are those of a policy with the same settings, if there is one in the process.

    Attributes:
        layer: How many layers the text goes through.
        pooling: "mean" over the tokens of the answer and the end of its turn, or that "last" token alone.
        width: Numbers per text.
        tokens_processed: Tokens computed so far.
    """

    def __init__(self, loaded: LoadedModel, layer: int | None, pooling: Pooling = "mean") -> None:
        self._loaded = loaded
        self._model, self.layer = _cut(loaded.model.base_model, layer)
        self.pooling = pooling
        self.width = int(loaded.model.config.get_text_config().hidden_size)
        self.tokens_processed = 0
        self._end = end_of_turn_id(loaded.tokenizer) or loaded.tokenizer.eos_token_id
        self._lock = threading.Lock()
        self._slots = KVSlots(self._model, _ROWS, remember=REMEMBERED, forward=self._forward) if loaded.ragged else None
        self._start = 0  # tokens before the answers that are computed now

    def read(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> NDArray[np.float64]:
        """Hidden states `[len(responses), width]`.

        Raises:
            ContextOverflowError: The last message and an answer are longer than the model's context.
        """
        texts = [self._encode(list(messages), response) for response in responses]
        found = [np.zeros((0, self.width))]
        with self._lock:
            for start, group in groupby(texts, key=lambda text: text[0]):
                # Not the other way round: Apple's GPUs have no float64.
                found.append(self._pooled(start, [ids for _, ids in group]).cpu().double().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def _pooled(self, start: int, texts: list[Ids]) -> torch.Tensor:
        """Features `[len(texts), width]` of texts of which the answers begin at token `start`."""
        if self._slots is None:
            self.tokens_processed += sum(map(len, texts))
            return torch.stack([self._alone(start, text) for text in texts])
        self._start = start
        return torch.cat([self._remembering(self._slots, texts[at : at + _ROWS]) for at in range(0, len(texts), _ROWS)])

    def _remembering(self, slots: KVSlots, texts: list[Ids]) -> torch.Tensor:
        pooled, computed = slots.read(texts)
        self.tokens_processed += computed
        return pooled

    def _alone(self, start: int, text: Ids) -> torch.Tensor:
        ids = torch.tensor([text], device=self._loaded.device)
        hidden: torch.Tensor = self._model(input_ids=ids, use_cache=False).last_hidden_state[0].float()
        return hidden[-1] if self.pooling == "last" else hidden[start:].mean(dim=0)

    def _forward(self, inputs: Inputs, cache: Cache) -> torch.Tensor:
        """Features of each row, at its last token or of all from there back to the answer's first.

        For the mean, the hidden states are kept in the cache as the keys of one layer more. So those of text that is
        not computed again are available.
        """
        hidden: torch.Tensor = self._model(
            input_ids=inputs.ids,
            attention_mask=inputs.masks,
            position_ids=inputs.positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device)
        if self.pooling == "last":
            return hidden[rows, inputs.last].float()
        known = cache.update(hidden[:, None], hidden[:, None, :, :1], self.layer)[0][:, 0]  # [B, columns, width]
        columns = torch.arange(known.shape[1], device=hidden.device)
        answer = (columns >= self._start) & (columns <= inputs.positions[rows, inputs.last][:, None])
        total = torch.where(answer[..., None], known.float(), 0).sum(dim=1)
        return total / answer.sum(dim=1, keepdim=True)

    def _encode(self, messages: list[BaseMessage], response: AIMessage) -> tuple[int, Ids]:
        """The index at which the answer begins, and conversation and answer by the chat template.

        The answer's turn is closed even if it is unfinished.
        """
        codec = self._loaded.codec
        answer = (*codec.encode_text(content(response)), self._end)
        for history in ever_shorter(messages):
            text = codec.encode_chat(turns(history)) + answer
            if len(text) <= self._loaded.context_length:
                return len(text) - len(answer), text
        message = (
            f"the last message and an answer are {len(text)} tokens, more than the {self._loaded.context_length} that"
            f" {self._loaded.name} can read; lower max_tokens"
        )
        raise ContextOverflowError(message)


@functools.lru_cache(maxsize=2)
def shared_features(
    model: str | None,
    layer: int | None,
    pooling: Pooling,
    revision: str | None,
    dtype: str,
    device: str,
    trust_remote_code: bool,
) -> Features:
    """The features of these settings; the last two are kept. None as the model is the embedded one."""
    loaded = load_model(
        resolve_model(model), revision=revision, dtype=dtype, device=device, trust_remote_code=trust_remote_code
    )
    return Features(loaded, layer, pooling)


def _cut(base: Any, layer: int | None) -> tuple[Any, int]:
    """The model without the layers above `layer` and without its final norm; it shares the weights.

    A model that does not keep its layers in `layers` and its norm in `norm` is used whole.
    """
    layers = getattr(base, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList) or not isinstance(getattr(base, "norm", None), torch.nn.Module):
        count = int(base.config.get_text_config().num_hidden_layers)
        if layer not in (None, count):
            raise ConfigurationError(
                f"layer={layer}: of {type(base).__name__}, only the last layer, {count}, can be read"
            )
        return base, count
    layer = max(1, round(_DEPTH * len(layers))) if layer is None else layer
    if not 1 <= layer <= len(layers):
        raise ConfigurationError(f"layer={layer} must be between 1 and the number of layers, {len(layers)}")
    cut = copy.copy(base)
    cut._modules = {**base._modules, "layers": layers[:layer], "norm": torch.nn.Identity()}  # noqa: SLF001
    return cut, layer
