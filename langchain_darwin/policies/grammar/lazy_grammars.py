"""One model's grammars, made when the first constraint comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_darwin.inference.chat_codec import ChatCodec
    from langchain_darwin.policies.grammar.grammars import Grammars


class LazyGrammars:
    """Makes the grammars of one model once, at the first call: reading a vocabulary takes up to seconds.

    The tokenizer is read under the codec's lock, as each use of it must be. The same lock sees to it that threads
    that ask at the same time get the same grammars.

    Args:
        codec: The model's tokenizer and end tokens.
        vocab_size: Width of the model's logits.
    """

    def __init__(self, codec: ChatCodec, vocab_size: int) -> None:
        self._codec = codec
        self._vocab_size = vocab_size
        self._made: Grammars | None = None

    def __call__(self) -> Grammars:
        """Return the grammars.

        Raises:
            MissingDependencyError: xgrammar is not installed.
        """
        return self._made or self._make()

    def _make(self) -> Grammars:
        from langchain_darwin.policies.grammar.grammars import Grammars

        with self._codec.lock:
            if self._made is None:
                self._made = Grammars(self._codec.tokenizer, self._vocab_size, self._codec.end_ids)
            return self._made
