"""Texts that a grammar lets through when the model is noise, at temperature 2: the worst of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from langchain_darwin.policies.base import Constraint, Sampling
from langchain_darwin.policies.grammar.grammars import Grammars
from langchain_darwin.policies.grammar.matcher import Matcher
from langchain_darwin.policies.local.sampling import draw, make_metadata
from tests.tiny_models import CHATML, embedded_tokenizer, tiny_tokenizer

END = 2  # <|im_end|> of both vocabularies

_HOT = Sampling(temperature=2.0, top_k=0)


class Noise:
    """A vocabulary, its grammars, and random logits over it.

    Args:
        tokenizer: Of the vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.vocabulary = tokenizer, len(tokenizer)
        self.grammars = Grammars(tokenizer, self.vocabulary, frozenset({END}))

    @classmethod
    def tiny(cls) -> Noise:
        """On the small vocabulary of the tests' own models; a tenth of it are control characters."""
        return cls(tiny_tokenizer(CHATML))

    @classmethod
    def embedded(cls) -> Noise:
        """On the embedded model's 49,152 tokens."""
        return cls(embedded_tokenizer())

    def matcher(self, constraint: Constraint) -> Matcher:
        """Where a text that is still empty stands in its grammar."""
        return self.grammars.matcher(self.grammars.compile(constraint), ())

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say, without special ones."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def drawn(self, matcher: Matcher, limit: int, seed: int = 0) -> str:
        """Continue a matcher up to `limit` tokens in all; the text so far, without the end token."""
        generator = torch.Generator().manual_seed(seed)
        plan = make_metadata([_HOT], [seed], [0], [END], torch.device("cpu"))
        while not matcher.finished and len(matcher.tokens) < limit:
            logits = torch.randn(1, self.vocabulary, generator=generator) * 3
            position = torch.tensor([len(matcher.tokens)])
            tokens, _ = draw(logits, plan, position, allowed=self.grammars.allowed([matcher]))
            matcher.accept(int(tokens), limit - len(matcher.tokens) - 1)
        return self.text(matcher.tokens)

    def allowed_ids(self, *matchers: Matcher | None) -> list[list[int]]:
        """Token ids that each row may draw next."""
        words = self.grammars.allowed(matchers).numpy().view(np.uint8)
        bits = np.unpackbits(words, axis=1, bitorder="little")[:, : self.vocabulary]
        return [np.flatnonzero(row).tolist() for row in bits]

    def mask(self, matcher: Matcher) -> torch.Tensor:
        """What the next token may be, as the bits that a matcher fills in."""
        bits = torch.zeros(1, -(-self.vocabulary // 32), dtype=torch.int32)
        matcher.fill(bits, 0)
        return bits
