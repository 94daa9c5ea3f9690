"""A policy that needs no model."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Codec, FinishReason, Growth, Job, OnTokens, Proposal
from langchain_darwin.policies.job_checks import check_job
from langchain_darwin.runtime.fingerprints import digest
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.runtime.text.stop_strings import completes
from langchain_darwin.testing.word_codec import END, ROLES, WordCodec
from langchain_darwin.testing.word_model import WORDS, draw, likelihood, log_sum_exp, without_end, word_logits

Respond = Callable[[str, list[dict[str, Any]]], str | Sequence[str] | None]
"""`respond(conversation as text, tools)`: the whole answer; or several, of which each beam takes one by its
key; or None, to have words drawn. The text has a line "role: content" for each turn, "assistant:" last."""


@dataclass(frozen=True)
class ScriptedPolicy:
    """A policy that says what `respond` says, or else draws words. It holds no state and loads nothing.

    Drawn words come from a tiny language model. The likelihood of a word depends on the word before it, the draw on
    the key and the index of the token alone. So two short continuations equal one long one and a batch equals its
    jobs one by one. A scripted answer is followed word by word from the response's start.

    `temperature`, `top_k`, `max_tokens`, `min_tokens` and `stop` are honoured, `top_p` and `constraint` not.

    Attributes:
        respond: What to answer to a conversation; None draws words.
        words: What is drawn from.
        length: About how many words a drawn response has.
        context_length: Most tokens of prompt and response together.
        name: The model's name for users.
        seconds_per_token: Time that each decoding step takes, for tests of timeouts and cancelling.
    """

    respond: Respond | None = None
    words: tuple[str, ...] = WORDS
    length: int = 24
    context_length: int = 4096
    name: str = "scripted"
    seconds_per_token: float = 0.0
    codec: WordCodec = field(default_factory=WordCodec, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a policy that could say nothing."""
        check_range("length", self.length, low=1)
        check_range("context_length", self.context_length, low=1)
        check_range("seconds_per_token", self.seconds_per_token, low=0)
        if not self.words or any(not word or any(map(str.isspace, word)) for word in self.words):
            msg = f"words={self.words!r} must be a few words without white space"
            raise ConfigurationError(msg)

    def identity(self) -> Mapping[str, Any]:
        """The fields; a script is identified by its code and what it refers to."""
        script = self.respond and digest(self.respond)
        facts = {"policy": "scripted", "model": self.name, "respond": script, "words": list(self.words)}
        return {**facts, "length": self.length, "context_length": self.context_length}

    def profile(self) -> Mapping[str, Any]:
        """Return the facts that LangChain may know of it."""
        return {"max_input_tokens": self.context_length}

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """Continue each job, in a thread of its own; cancelling the future ends it at the next step."""
        future: Future[list[Growth]] = Future()
        threading.Thread(target=self._work, args=(future, tuple(jobs), on_tokens), daemon=True).start()
        return future

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """The likeliest next words of each prefix."""
        future: Future[list[Proposal]] = Future()
        try:
            future.set_result([self._proposal(prefix, k, among) for prefix in prefixes])
        except Exception as error:  # noqa: BLE001 - a script may raise anything; the future carries it
            future.set_exception(error)
        return future

    def _work(self, future: Future[list[Growth]], jobs: tuple[Job, ...], on_tokens: OnTokens | None) -> None:
        with contextlib.suppress(InvalidStateError):  # cancelled
            try:
                future.set_result(self._grow(future, jobs, on_tokens))
            except Exception as error:  # noqa: BLE001 - a script may raise anything; the future carries it
                future.set_exception(error)

    def _grow(self, future: Future[Any], jobs: tuple[Job, ...], on_tokens: OnTokens | None) -> list[Growth]:
        for job in jobs:
            check_job(job, self.context_length, self.name, "")
            self._check_ids(job.prefix)
        rows = [_Row(job, self._script(job.prefix[: job.start], job.key)) for job in jobs]
        for row in rows:
            row.check(self)
        while not future.cancelled() and (live := [i for i, row in enumerate(rows) if row.live]):
            if self.seconds_per_token:
                time.sleep(self.seconds_per_token)
            for i in live:
                new = rows[i].step(self)
                if new and on_tokens is not None:
                    on_tokens(i, new)
        return [row.growth() for row in rows]

    def _check_ids(self, prefix: tuple[int, ...]) -> None:
        if (unknown := self.codec.unknown(prefix)) is not None:
            msg = f"prefix holds the token id {unknown}, which WordCodec did not make"
            raise ConfigurationError(msg)

    def _script(self, prompt: tuple[int, ...], key: int) -> tuple[int, ...] | None:
        if self.respond is None:
            return None
        said = self.respond(*self.codec.read_chat(prompt))
        if said is not None and not isinstance(said, str):
            said = said[key % len(said)]
        return None if said is None else (*self.codec.encode_text(said), END)

    def _proposal(self, prefix: tuple[int, ...], k: int, among: Sequence[int] | None) -> Proposal:
        start = len(prefix) - prefix[::-1].index(ROLES["assistant"])
        logits = self.logits(prefix, start, self._script(prefix[:start], key=0))
        allowed = logits if among is None else {t: likelihood(logits, prefix, t) for t in among}
        best = sorted(allowed, key=lambda token: -allowed[token])[: k if among is None else None]
        total = log_sum_exp(logits.values())
        return Proposal(tuple(best), tuple(allowed[token] - total for token in best), prefilled=len(prefix))

    def logits(self, prefix: Sequence[int], start: int, script: tuple[int, ...] | None) -> dict[int, float]:
        """A logit for every token that may come next; -inf for what a script forbids."""
        at = len(prefix) - start
        words = word_logits(prefix[-1], self.words, " " if at else "")
        if script is not None:
            said = script[at] if at < len(script) else END
            return {**dict.fromkeys([*words, END], -math.inf), said: 0.0}
        # Ending grows e-fold likelier every length/8 words, and as likely as going on at `length`.
        end = log_sum_exp(words.values()) + 8 * (at - self.length) / self.length
        return {**words, END: end}


class _Row:
    """One job under way."""

    def __init__(self, job: Job, script: tuple[int, ...] | None) -> None:
        self.job = job
        self.script = script
        self.tokens = list(job.prefix)
        self.logprob = 0.0
        self.live = True
        self.finish: FinishReason | None = None

    @property
    def added(self) -> int:
        return len(self.tokens) - len(self.job.prefix)

    def step(self, policy: ScriptedPolicy) -> list[int]:
        """Draw one token, or stop because there is no time left."""
        if self.job.deadline is not None and time.monotonic() >= self.job.deadline:
            return self._end("timeout")
        logits = policy.logits(self.tokens, self.job.start, self.script)
        if len(self.tokens) - self.job.start < self.job.sampling.min_tokens:
            logits = without_end(logits, self.tokens[-1], policy.words)
        token = draw(logits, self.job.sampling, self.job.key, len(self.tokens))
        self.logprob += logits[token] - log_sum_exp(logits.values())
        self.tokens.append(token)
        self.check(policy)
        return [token]

    def check(self, policy: ScriptedPolicy) -> None:
        """End if there is a reason to."""
        answered = len(self.tokens) - self.job.start
        if (answered and self.tokens[-1] == END) or (self.added and self._stopped(policy.codec, answered)):
            self._end("stop")
        elif answered >= self.job.sampling.max_tokens or len(self.tokens) >= policy.context_length:
            self._end("length")
        elif self.job.tokens is not None and self.added >= self.job.tokens:
            self.live = False

    def growth(self) -> Growth:
        new = tuple(self.tokens[len(self.job.prefix) :])
        return Growth(new, self.logprob, self.finish, prefilled=len(self.job.prefix))

    def _stopped(self, codec: Codec, answered: int) -> bool:
        if answered < self.job.sampling.min_tokens:
            return False
        text, sampling = codec.decode(self.tokens[self.job.start :]), self.job.sampling
        before = text[: len(text) - len(codec.decode(self.tokens[-1:]))]
        return completes(before, text, sampling.stop, sampling.thought)

    def _end(self, reason: FinishReason) -> list[int]:
        self.live, self.finish = False, reason
        return []
