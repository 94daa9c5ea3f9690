"""The published search loop, as its paper and code audit describe it, on plain transformers: what ours is timed by.

Beams are text. Every period all of them are tokenised again, read again from their first token, continued by
`generate`, decoded, and scored again from their first word; the weaker ones then take over the text of the stronger.
Written anew from the description (docs/paper.md); faults that only concern results are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class PublishedLoop:
    """One cycle of the published loop over given instructions.

    Attributes:
        model: A causal language model, as transformers loads it.
        tokenizer: Its tokenizer.
        score: `texts -> rewards`.
        period: Tokens between replacements.
        keep: Beams that are never replaced.
        prefilled: Tokens read in prompts so far.
        decoded: Tokens drawn so far.
    """

    model: Any
    tokenizer: Any
    score: Callable[[Sequence[str]], list[float]]
    period: int = 40
    keep: int = 3
    prefilled: int = 0
    decoded: int = 0

    def run(self, prompts: Sequence[str], tokens: int, seed: int) -> str:
        """Continue each prompt (text of a chat template) to `tokens` new tokens; the text with the best reward."""
        torch.manual_seed(seed)
        rng = random.Random(seed)
        texts = ["" for _ in prompts]
        rewards = [0.0] * len(prompts)
        for done in range(0, tokens, self.period):
            texts = self._grow(prompts, texts, min(self.period, tokens - done))
            rewards = self.score(texts)
            if done + self.period < tokens:
                texts = self._replace(texts, rewards, rng)
        return texts[max(range(len(texts)), key=rewards.__getitem__)]

    def _grow(self, prompts: Sequence[str], texts: Sequence[str], tokens: int) -> list[str]:
        whole = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
        batch = self.tokenizer(whole, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        with torch.inference_mode():
            output = self.model.generate(
                **batch,
                do_sample=True,
                temperature=0.7,
                top_k=40,
                top_p=1.0,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        self.prefilled += int(batch["attention_mask"].sum())
        self.decoded += tokens * len(whole)
        new = output[:, batch["input_ids"].shape[1] :]
        return [
            text + added
            for text, added in zip(texts, self.tokenizer.batch_decode(new, skip_special_tokens=True), strict=True)
        ]

    def _replace(self, texts: Sequence[str], rewards: Sequence[float], rng: random.Random) -> list[str]:
        order = sorted(range(len(texts)), key=lambda i: -rewards[i])
        best = order[: self.keep]
        return [texts[i] if i in best else texts[rng.choice(best)] for i in range(len(texts))]
