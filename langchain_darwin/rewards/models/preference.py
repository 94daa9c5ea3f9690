"""Rewards fitted to preferences: a linear head on what a frozen language model makes of an answer."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages

from langchain_darwin.errors import ConfigurationError, ModelNotFound
from langchain_darwin.rewards.models import bradley_terry
from langchain_darwin.runtime.ranges import check_choice, check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from langchain_darwin.rewards.models.features import Features, Pooling

logger = logging.getLogger(__name__)

GRID = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
"""Values of `l2` to choose from, for features of unit variance."""

_TELL_EVERY = 50  # pairs
_CONFIG, _HEAD = "preference_reward.json", "head.safetensors"


@dataclass(frozen=True)
class Backbone:
    """The frozen model that features are read from.

    Attributes:
        model: Hub id or folder, or None for the embedded model.
        layer: How many of its layers the text goes through.
        pooling: "mean" over the hidden states of an answer's tokens, or the one at its end, "last".
        revision: Branch, tag or commit of a hub id.
        dtype: "auto" is bfloat16 where the device computes in it natively, float16 on other GPUs, else float32.
        device: "auto" is the first of cuda, mps and cpu that this machine has.
        trust_remote_code: Run Python code that comes with the model.
    """

    model: str | None = None
    layer: int | None = None
    pooling: Pooling = "mean"
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False

    def features(self) -> Features:
        """The loaded model, shared in the process."""
        from langchain_darwin.rewards.models.features import shared_features

        place = (self.dtype, self.device, self.trust_remote_code)
        return shared_features(self.model, self.layer, self.pooling, self.revision, *place)


@dataclass(frozen=True, eq=False)
class PreferenceReward:
    """`w . h(x, y)`, h the mean hidden state of the answer; any real number, about 0 on average.

    Differences are log-odds. Of two answers to one question, the one that scores d higher is preferred with
    probability `1 / (1 + exp(-d))`. That is as good as the pairs it was fitted to. A score costs one prefill of the
    answer through part of the model. The part that was judged when the text was shorter is remembered.

    Unfinished text is judged as if its turn ended there. A mean changes little by little as an answer grows, so the
    score of a beginning tells much of the final one. With `pooling="last"` it tells nothing (docs/rewards.md), and a
    search that replaces beams has nothing to go by.

    Attributes:
        backbone: The model that features are read from.
        weight: The head, float64 `[width]`.
        center: Features of the average answer, `[width]`; they score 0.
        facts: What is known of the fit: `pairs`, `l2`, and, by cross-validation, `accuracy` with its standard error.
    """

    backbone: Backbone
    weight: NDArray[np.float64] = field(repr=False)
    center: NDArray[np.float64] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    name = "preference"
    partial = True

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response."""
        hidden = self.backbone.features().read(messages, responses)
        return [float(score) for score in (hidden - self.center) @ self.weight]

    def bind(self, policy: Any) -> PreferenceReward:
        """Load the backbone, so that one that cannot be loaded is an error before anything is decoded."""
        del policy
        self.backbone.features()
        return self

    def identity(self) -> dict[str, Any]:
        """The model and a digest of the head."""
        head = hashlib.sha256(self.weight.tobytes() + self.center.tobytes()).hexdigest()[:16]
        return {"reward": "PreferenceReward", "head": head, **asdict(self.backbone)}

    def save(self, folder: str | Path) -> None:
        """Write `head.safetensors` and `preference_reward.json` into a folder, which is made if need be."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weight": self.weight, "center": self.center}, folder / _HEAD)
        config = {"backbone": asdict(self.backbone), "facts": dict(self.facts)}
        (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> PreferenceReward:
        """Read what `save` wrote. The model itself is loaded when a search begins.

        Raises:
            ModelNotFound: There is no such reward in the folder.
        """
        from safetensors.numpy import load_file

        folder = Path(folder)
        if not (folder / _CONFIG).is_file() or not (folder / _HEAD).is_file():
            message = (
                f"{str(folder)!r} holds no {_CONFIG} and {_HEAD}; make them with fit_preference_reward(..., folder=)"
            )
            raise ModelNotFound(message)
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        head = load_file(folder / _HEAD)
        return cls(Backbone(**config["backbone"]), head["weight"], head["center"], config["facts"])


def fit_preference_reward(
    pairs: Iterable[Mapping[str, Any]] | str | Path,
    model: str | Path | None = None,
    *,
    folder: str | Path,
    layer: int | None = None,
    pooling: Pooling = "mean",
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    l2: float | Sequence[float] = GRID,
    folds: int = 5,
    seed: int = 0,
) -> PreferenceReward:
    """Fit a reward to pairs of answers of which one was preferred, and save it.

    A Bradley-Terry model on the hidden states of a frozen language model. Almost all the time goes into reading
    every answer once; what two answers to one question share is read once. How far it is, is logged at level INFO.

    Args:
        pairs: Mappings with `prompt`, `chosen` and `rejected`, or a file with one such JSON object per line. A
            prompt is a text, a text with turns as in Anthropic's hh-rlhf ("Human: ... Assistant: ..."), or a list of
            messages; an answer is a text.
        model: Hub id or folder of a chat model; None is the embedded one.
        folder: Where to save the reward.
        layer: Read features after this many layers; None is four fifths of them.
        pooling: "mean" over the hidden states of an answer's tokens, or "last", the one at the end of its turn.
        revision: Branch, tag or commit of a hub id.
        dtype: As for `TransformersPolicy`; a policy of the same settings shares its weights.
        device: The same.
        trust_remote_code: Run Python code that comes with the model.
        l2: Strength of regularisation; of several, the one with the best cross-validated likelihood is taken.
        folds: Parts that the pairs are divided into for cross-validation.
        seed: Decides which pair is in which part.

    Raises:
        ConfigurationError: There are too few pairs, or one lacks something.
    """
    known = read_pairs(pairs)
    check_range("folds", folds, low=2)
    if len(known) < 2 * folds:
        raise ConfigurationError(f"{len(known)} pairs are too few for folds={folds}; pass at least {2 * folds}")
    grid = (float(l2),) if isinstance(l2, int | float) else tuple(l2)
    for strength in grid:
        check_range("l2", strength, low=0, low_open=True)
    check_choice("pooling", pooling, ("mean", "last"))
    source = None if model is None else str(model)
    backbone = Backbone(source, layer, pooling, revision, dtype, device, trust_remote_code)
    hidden = pair_features(backbone.features(), known)
    reward = fit_head(backbone, hidden, grid, folds=folds, seed=seed)
    reward.save(folder)
    return reward


def fit_head(
    backbone: Backbone, hidden: NDArray[np.float64], grid: Sequence[float], *, folds: int, seed: int
) -> PreferenceReward:
    """Fit the head to features `[n, 2, width]` of preferred and other answers."""
    flat = hidden.reshape(-1, hidden.shape[-1])
    spread = flat.std(axis=0) + 1e-6
    differences = (hidden[:, 0] - hidden[:, 1]) / spread
    right = bradley_terry.cross_validated(differences, grid, folds, seed)
    l2 = bradley_terry.best_l2(differences, grid, folds, seed)
    error = float(right.std(ddof=1) / np.sqrt(len(right)))
    facts = {"pairs": len(right), "l2": l2, "accuracy": float(right.mean()), "accuracy_standard_error": error}
    return PreferenceReward(backbone, bradley_terry.fit(differences, l2) / spread, flat.mean(axis=0), facts)


def pair_features(features: Features, pairs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Hidden states `[n, 2, width]` of the preferred and the other answer of each pair."""
    hidden = []
    for at, pair in enumerate(pairs):
        if at % _TELL_EVERY == 0:
            logger.info("reading preference pairs: %d of %d", at, len(pairs))
        answers = [AIMessage(pair["chosen"]), AIMessage(pair["rejected"])]
        hidden.append(features.read(conversation(pair["prompt"]), answers))
    return np.stack(hidden)


def read_pairs(pairs: Iterable[Mapping[str, Any]] | str | Path) -> list[Mapping[str, Any]]:
    """The pairs, from a JSON-lines file or as they are, checked."""
    if isinstance(pairs, str | Path):
        if not Path(pairs).is_file():
            raise ConfigurationError(
                f"pairs={str(pairs)!r} is not a file of JSON lines with prompt, chosen and rejected"
            )
        lines = Path(pairs).read_text(encoding="utf-8").split("\n")  # texts may hold what `splitlines` takes for ends
        pairs = [json.loads(line) for line in lines if line.strip()]
    known = list(pairs)
    for at, pair in enumerate(known, 1):
        missing = [key for key in ("prompt", "chosen", "rejected") if key not in pair]
        if missing or not all(isinstance(pair[key], str) for key in ("chosen", "rejected")):
            raise ConfigurationError(
                f"pair {at} must have prompt, chosen and rejected, answers as texts; it is {pair!r:.200}"
            )
    return known


def conversation(prompt: Any) -> list[BaseMessage]:
    """The messages of a prompt: a text, a text with hh-rlhf's turns, or messages."""
    if not isinstance(prompt, str):
        return convert_to_messages(prompt)
    parts = re.split(r"(?:^|\n\n)(Human|Assistant):", prompt)
    if parts[0].strip() or len(parts) < 3:
        return [HumanMessage(prompt)]
    spoken = zip(parts[1::2], parts[2::2], strict=True)
    kinds = {"Human": HumanMessage, "Assistant": AIMessage}
    messages = [kinds[role](text.strip()) for role, text in spoken]
    return messages[:-1] if not messages[-1].text else messages  # "Assistant:" left open for the answer
