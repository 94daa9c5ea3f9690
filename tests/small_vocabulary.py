"""A vocabulary so small that all its texts can be tried: the brute force that grammars are compared with."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from langchain_darwin.policies.grammar.grammars import Grammars

END = 0
PIECES = ("a", "b", "c", "ab", "bc", "aba", "cc")
LONGEST_TEXT = 9
NEVER = 1000

_MERGES = [("a", "b"), ("b", "c"), ("ab", "a"), ("c", "c")]


@functools.cache
def grammars() -> Grammars:
    """Grammars over `PIECES` and an end token."""
    vocabulary = {"<end>": END, **{piece: index for index, piece in enumerate(PIECES, 1)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, _MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    made: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    return Grammars(made, len(vocabulary), frozenset({END}))


def text_of(tokens: Any) -> str:
    """The text of token ids, without the end token."""
    return "".join(PIECES[token - 1] for token in tokens if token != END)


def tokens_to_end(pattern: str) -> Callable[[str], int]:
    """The fewest tokens that complete a text by Python's own `re`, end token included; `NEVER` if none do.

    Only texts of at most `LONGEST_TEXT` letters are tried.
    """
    matches = re.compile(pattern).fullmatch

    @functools.cache
    def fewest(text: str) -> int:
        if matches(text):
            return 1
        if len(text) >= LONGEST_TEXT:
            return NEVER
        return 1 + min(fewest(text + piece) for piece in PIECES)

    return fewest
