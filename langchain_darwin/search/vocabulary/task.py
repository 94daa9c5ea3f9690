"""The task: the question put to a search, and the only maker of its beams."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_darwin.policies.base import Codec, FinishReason, Growth, Sampling
from langchain_darwin.runtime.text.stop_strings import completes, cut
from langchain_darwin.search.vocabulary.beam import Beam


@dataclass
class Task:
    """One question put to a search. Each run has a task of its own.

    Attributes:
        conversation: The original conversation, in chat-template form.
        codec: The policy's tokenizer and chat template.
        sampling: How responses are drawn.
        seed: All randomness of the run follows from it.
        tools: Tool definitions for the chat template (JSON Schema dicts).
    """

    conversation: Sequence[Mapping[str, Any]]
    codec: Codec
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    tools: Sequence[Mapping[str, Any]] = ()
    _ids: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def __post_init__(self) -> None:
        """Encode the original prompt once."""
        self.rng = random.Random(self.seed)
        self.prompt = self.codec.encode_chat(self.conversation, self.tools)

    @property
    def instruction(self) -> str:
        """Text of the last human message, or "" if there is none."""
        said = (str(turn["content"]) for turn in reversed(self.conversation) if turn["role"] == "user")
        return next(said, "")

    def root(self, instruction: str | None = None) -> Beam:
        """A fresh beam that answers the original instruction, or another one in its place."""
        if instruction is None or instruction == self.instruction:
            return self._beam(self.instruction, self.prompt)
        turns = with_instruction(self.conversation, instruction)
        return self._beam(instruction, self.codec.encode_chat(turns, self.tools))

    def roots(self, n: int) -> list[Beam]:
        """`n` fresh beams that answer the original instruction, each with its own random stream."""
        return [self.root() for _ in range(n)]

    def aside(self, question: str, examples: Sequence[Mapping[str, Any]] = ()) -> Beam:
        """A fresh auxiliary beam that answers `question` alone, outside the conversation, after `examples`."""
        prompt = self.codec.encode_chat([*examples, {"role": "user", "content": question}])
        return replace(self._beam(question, prompt), aside=True)

    def branch(self, donor: Beam) -> Beam:
        """A copy of `donor`, instruction and response, that goes on with a random stream of its own."""
        ident = next(self._ids)
        return replace(donor, id=ident, parent=donor.id, key=stream_key(self.seed, ident))

    def graft(self, donor: Beam, receiver: Beam) -> Beam:
        """The response of `donor` under the instruction of `receiver`, as in the paper."""
        return replace(self.branch(donor), instruction=receiver.instruction, prompt=receiver.prompt)

    def extend(self, beam: Beam, token: int, logprob: float = 0.0) -> Beam:
        """The beam with one more token, chosen by the search; it ends where a policy would have ended it."""
        longer = beam.grown(Growth((token,), logprob, None))
        return replace(longer, finish=self._finish(longer))

    def text(self, beam: Beam) -> str:
        """The response as text, without end token, cut before the first stop string of the answer."""
        text = self.codec.decode(beam.tokens)
        return text if beam.aside else cut(text, self.sampling.stop, self.sampling.thought)

    def _finish(self, beam: Beam) -> FinishReason | None:
        answered = len(beam.tokens)
        if beam.tokens[-1] in self.codec.end_ids:
            return "stop"
        if self.sampling.stop and answered >= self.sampling.min_tokens:
            text = self.codec.decode(beam.tokens)
            if completes("", text, self.sampling.stop, self.sampling.thought):
                return "stop"
        return "length" if answered >= self.sampling.max_tokens else None

    def _beam(self, instruction: str, prompt: tuple[int, ...]) -> Beam:
        ident = next(self._ids)
        return Beam(ident, instruction, prompt, key=stream_key(self.seed, ident))


def with_instruction(conversation: Sequence[Mapping[str, Any]], instruction: str) -> list[Mapping[str, Any]]:
    """The conversation with the text of its last human message replaced; everything else stays."""
    turns = list(conversation)
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "user"), default=None)
    if last is not None:
        turns[last] = {**turns[last], "content": instruction}
    return turns


def stream_key(seed: int, ident: int) -> int:
    """A 63-bit key for the random stream of beam `ident`: blake2b, so that near seeds share nothing."""
    digest = hashlib.blake2b(f"{seed}/{ident}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
