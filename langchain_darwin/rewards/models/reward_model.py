"""Reward models from the Hugging Face hub or a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_darwin.inference.shared_models import SharedModels
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from langchain_darwin.rewards.models.classifier import Classifier


@dataclass(frozen=True)
class RewardModel:
    """The score that a sequence-classification model gives a conversation with an answer; any real number.

    What the model reads is the conversation with the answer as its last turn, by the model's own chat template,
    end-of-turn marks included. That goes for unfinished text too. The head was trained at the end of a turn, and
    scores read in the middle of one are close to chance (arXiv 2604.22981). Truncated answers that are
    closed like this still rank like finished ones more often than not (arXiv 2410.20290). Judge longer pieces
    for less noise: `as_reward(RewardModel(...), min_tokens=80)`. Models without a chat template that read pairs
    of texts (BERT and its like) get the conversation and the answer as a pair.

    Decoder-only models remember what they have read: of a text that has grown, or shares its beginning with
    another, only the rest is computed. Others read every text anew. The oldest messages are dropped where a
    conversation is too long for the model. If the last message and the answer alone are, that is an error.

    The weights are loaded before the first search decodes anything. All `RewardModel`s of the same settings in the
    process share them.

    Attributes:
        model: Hub id, or the folder of a model. Weights are read from safetensors files only.
        revision: Branch, tag or commit of a hub id.
        label: For a model with several labels, the one (number or name) whose log-odds against the others are
            the score. Models with a single output need none.
        dtype: "auto" is bfloat16 where the device computes in it natively, float16 on other GPUs, else float32.
        device: "auto" is the first of cuda, mps and cpu that this machine has.
        batch_size: Most texts in one forward pass.
        trust_remote_code: Run Python code that comes with the model.
    """

    model: str | Path
    revision: str | None = None
    label: int | str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_size: int = 32
    trust_remote_code: bool = False

    partial = True

    def __post_init__(self) -> None:
        """Refuse an impossible batch size."""
        check_range("batch_size", self.batch_size, low=1)

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response."""
        return self._classifier().score(messages, responses)

    def bind(self, policy: Any) -> RewardModel:
        """Load the weights, so that a model that cannot be loaded is an error before anything is decoded."""
        del policy
        self._classifier()
        return self

    @property
    def name(self) -> str:
        """Last part of the id or folder."""
        return Path(self.model).name

    @property
    def tokens_processed(self) -> int:
        """Tokens that the loaded model has computed so far, for everyone who shares it; 0 before loading."""
        loaded = _shared.held(self)
        return 0 if loaded is None else loaded.tokens_processed

    def identity(self) -> dict[str, Any]:
        """Settings that change the numbers, and for a folder a digest of its files' names, sizes and times."""
        facts = {
            "model": str(self.model),
            "revision": self.revision,
            "label": self.label,
            "dtype": self.dtype,
            "device": self.device,
        }
        folder = Path(self.model).expanduser()
        files = {"files": _digest(folder)} if folder.is_dir() else {}
        return {"reward": "RewardModel", **facts, **files}

    def _classifier(self) -> Classifier:
        return _shared.get(self, lambda: _load(self))


_shared: SharedModels[RewardModel, Classifier] = SharedModels()


def _load(settings: RewardModel) -> Classifier:
    from langchain_darwin.rewards.models.classifier_loading import load_classifier

    return load_classifier(
        settings.model,
        revision=settings.revision,
        label=settings.label,
        dtype=settings.dtype,
        device=settings.device,
        batch_size=settings.batch_size,
        trust_remote_code=settings.trust_remote_code,
    )


def _digest(folder: Path) -> str:
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    spelt = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.sha256(spelt.encode()).hexdigest()[:16]
