"""Fakes for tests: a policy that needs no model, and a reward that counts words.

They let you test your own chains, rewards and searches in milliseconds, with the same results on every run:

    from langchain_darwin import ChatDarwin
    from langchain_darwin.testing import ScriptedPolicy, keyword_reward

    def test_the_search_finds_the_sea():
        chat = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward("sea"), seed=1)
        assert "sea" in chat.invoke("Write a line").text

To decide what the policy says, give it a function; a list of answers is shared out among the beams:

    def respond(conversation, tools):
        if "weather" in conversation:
            return '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
        return ["The sea is calm.", "The sky is grey."]

    ScriptedPolicy(respond)

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import (
    Codec,
    Conversation,
    FinishReason,
    Growth,
    Job,
    OnTokens,
    Proposal,
    Sampling,
    check_range,
)
from langchain_darwin.rewards.identity import digest

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

Respond = Callable[[str, list[dict[str, Any]]], str | Sequence[str] | None]
"""`respond(conversation as text, tools)`: the whole answer; or several, of which each beam takes one by its
key; or None, to have words drawn. The text has a line "role: content" for each turn, "assistant:" last."""

WORDS = (
    *("the", "a", "sea", "sky", "wind", "stone", "river", "bird", "light", "night", "song", "road"),
    *("grey", "calm", "old", "far", "sings", "waits", "turns", "falls", "and", "under", "over", "home"),
)
"""What `ScriptedPolicy` draws from unless told otherwise."""

_END, _TOOLS = 0, 1
_ROLES = {"system": 2, "user": 3, "assistant": 4, "tool": 5}  # ids of words begin at 256
_ROLE_NAMES = {mark: role for role, mark in _ROLES.items()}


@dataclass(frozen=True)
class WordCodec:
    """A reversible tokenizer: a token is a word with the white space before it, its id its bytes as a number.

    There is no vocabulary: any text can be encoded, `decode(encode_text(text)) == text`, and a word has the
    same id in every process. Ids of words longer than seven bytes do not fit in 64 bits.
    """

    @property
    def end_ids(self) -> frozenset[int]:
        """The one end token, which also ends each turn of a prompt."""
        return frozenset({_END})

    def encode_chat(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> tuple[int, ...]:
        """A mark for the role, the words and an end token for each turn; last the mark of the assistant."""
        ids: list[int] = []
        if tools:
            ids += (_TOOLS, *self.encode_text(json.dumps(list(tools), ensure_ascii=False)), _END)
        for turn in conversation:
            ids += (_mark(turn), *self.encode_text(_turn_text(turn)), _END)
        return (*ids, _ROLES["assistant"])

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Ids of the words of a text."""
        words = re.findall(r"\s*\S+|\s+", text)
        return tuple(int.from_bytes(b"\x01" + word.encode("utf-8", "surrogatepass"), "big") for word in words)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids; marks and end tokens are left out."""
        return "".join(_word(token) for token in tokens)

    def read_chat(self, prompt: Sequence[int]) -> tuple[str, list[dict[str, Any]]]:
        """The conversation, as lines of text, and the tools that `encode_chat` made `prompt` from."""
        lines: list[str] = []
        tools: list[dict[str, Any]] = []
        marks = [at for at, token in enumerate(prompt) if token in _ROLE_NAMES or token == _TOOLS]
        for begin, end in zip(marks, [*marks[1:], len(prompt)], strict=True):
            text = self.decode(prompt[begin + 1 : end])
            if prompt[begin] == _TOOLS:
                tools = json.loads(text)
            else:
                lines.append(f"{_ROLE_NAMES[prompt[begin]]}: {text}".rstrip())
        return "\n".join(lines), tools


@dataclass(frozen=True)
class ScriptedPolicy:
    """A policy that says what `respond` says, or else draws words. It holds no state and loads nothing.

    Drawn words come from a tiny language model: the likelihood of a word depends on the word before it, the
    draw on the key and the index of the token alone, so two short continuations equal one long one and a
    batch equals its jobs one by one. A scripted answer is followed word by word from the response's start.

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
    codec: Codec = field(default_factory=WordCodec, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a policy that could say nothing."""
        check_range("length", self.length, low=1)
        check_range("context_length", self.context_length, low=1)
        check_range("seconds_per_token", self.seconds_per_token, low=0)
        if not self.words or any(not word or any(map(str.isspace, word)) for word in self.words):
            msg = f"words={self.words!r} must be a few words without white space"
            raise ConfigurationError(msg)

    def identity(self) -> Mapping[str, Any]:
        """The fields; a script is told from others by its code and what it refers to."""
        script = self.respond and digest(self.respond)
        facts = {"policy": "scripted", "model": self.name, "respond": script, "words": list(self.words)}
        return {**facts, "length": self.length, "context_length": self.context_length}

    def profile(self) -> Mapping[str, Any]:
        """What LangChain may know of it."""
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

    def _script(self, prompt: tuple[int, ...], key: int) -> tuple[int, ...] | None:
        if self.respond is None:
            return None
        said = self.respond(*WordCodec().read_chat(prompt))
        if said is not None and not isinstance(said, str):
            said = said[key % len(said)]
        return None if said is None else (*self.codec.encode_text(said), _END)

    def _proposal(self, prefix: tuple[int, ...], k: int, among: Sequence[int] | None) -> Proposal:
        start = len(prefix) - prefix[::-1].index(_ROLES["assistant"])
        logits = self.logits(prefix, start, self._script(prefix[:start], key=0))
        allowed = logits if among is None else {t: _likelihood(logits, prefix, t) for t in among}
        best = sorted(allowed, key=lambda token: -allowed[token])[:k]
        total = _log_sum_exp(logits.values())
        return Proposal(tuple(best), tuple(allowed[token] - total for token in best), prefilled=len(prefix))

    def logits(self, prefix: Sequence[int], start: int, script: tuple[int, ...] | None) -> dict[int, float]:
        """A logit for every token that may come next; -inf for what a script forbids."""
        at = len(prefix) - start
        words = _word_logits(prefix[-1], self.words, " " if at else "")
        if script is not None:
            said = script[at] if at < len(script) else _END
            return {**dict.fromkeys([*words, _END], -math.inf), said: 0.0}
        # Ending grows e-fold likelier every length/8 words, and as likely as going on at `length`.
        end = _log_sum_exp(words.values()) + 8 * (at - self.length) / self.length
        return {**words, _END: end}


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
        """Draw one token, or stop for want of time."""
        if self.job.deadline is not None and time.monotonic() >= self.job.deadline:
            return self._end("timeout")
        logits = policy.logits(self.tokens, self.job.start, self.script)
        if len(self.tokens) - self.job.start < self.job.sampling.min_tokens:
            logits = _without_end(logits, self.tokens[-1], policy.words)
        token = _draw(logits, self.job.sampling, self.job.key, len(self.tokens))
        self.logprob += logits[token] - _log_sum_exp(logits.values())
        self.tokens.append(token)
        self.check(policy)
        return [token]

    def check(self, policy: ScriptedPolicy) -> None:
        """End if there is a reason to."""
        answered = len(self.tokens) - self.job.start
        if self.added and self._stopped(policy.codec, answered):
            self._end("stop")
        elif answered >= self.job.sampling.max_tokens or len(self.tokens) >= policy.context_length:
            self._end("length")
        elif self.job.tokens is not None and self.added >= self.job.tokens:
            self.live = False

    def growth(self) -> Growth:
        new = tuple(self.tokens[len(self.job.prefix) :])
        return Growth(new, self.logprob, self.finish, prefilled=len(self.job.prefix))

    def _stopped(self, codec: Codec, answered: int) -> bool:
        if self.tokens[-1] == _END:
            return True
        if answered < self.job.sampling.min_tokens:
            return False
        text = codec.decode(self.tokens[self.job.start :])
        fresh = len(codec.decode(self.tokens[-1:]))
        return any(stop in text[-fresh - len(stop) + 1 :] for stop in self.job.sampling.stop)

    def _end(self, reason: FinishReason) -> list[int]:
        self.live, self.finish = False, reason
        return []


def keyword_reward(*words: str) -> Callable[[Sequence[BaseMessage], Sequence[AIMessage]], list[float]]:
    """A reward for `ChatDarwin(reward=...)`: how often any of `words` occurs in a response.

    Args:
        *words: Whole words or phrases.
    """
    if not words or not all(words):
        msg = f"words={words!r} must be one or more words to count"
        raise ConfigurationError(msg)
    return _Keywords(words)


@dataclass(frozen=True)
class _Keywords:
    words: tuple[str, ...]

    def __call__(self, _messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        either = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in self.words)
        return [float(len(re.findall(either, response.text, re.IGNORECASE))) for response in responses]


def _mark(turn: Mapping[str, Any]) -> int:
    if turn["role"] not in _ROLES:
        msg = f"role={turn['role']!r} is none of {', '.join(_ROLES)}, which are all that WordCodec knows"
        raise ConfigurationError(msg)
    return _ROLES[turn["role"]]


def _turn_text(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    text = content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    calls = turn.get("tool_calls")
    return f"{text}\n{json.dumps(calls, ensure_ascii=False)}" if calls else text


def _word(token: int) -> str:
    data = token.to_bytes((token.bit_length() + 7) // 8, "big")
    return data[1:].decode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=1024)
def _word_logits(previous: int, words: tuple[str, ...], space: str) -> dict[int, float]:
    rng = random.Random(previous)
    return {token: 3 * rng.random() for word in words for token in WordCodec().encode_text(space + word)}


def _likelihood(logits: Mapping[int, float], prefix: Sequence[int], token: int) -> float:
    """The logit of a token; one that is never drawn is very unlikely, by how much depends on the prefix."""
    logit = logits.get(token, -math.inf)
    return logit if logit > -math.inf else random.Random(f"{hash(tuple(prefix))}/{token}").random() - 30


def _without_end(logits: dict[int, float], previous: int, words: tuple[str, ...]) -> dict[int, float]:
    going_on = {token: logit for token, logit in logits.items() if token != _END}
    scripted_end = all(logit == -math.inf for logit in going_on.values())
    return _word_logits(previous, words, " ") if scripted_end else going_on


def _draw(logits: dict[int, float], sampling: Sampling, key: int, index: int) -> int:
    """Gumbel-max: the largest of logit/temperature plus noise that depends on the key and the index alone."""
    tokens = sorted(logits, key=lambda token: -logits[token])[: sampling.top_k or None]
    if sampling.temperature == 0:
        return tokens[0]
    rng = random.Random(f"{key}/{index}")
    noise = {token: -math.log(-math.log(rng.random() or 0.5)) for token in logits}
    return max(tokens, key=lambda token: logits[token] / sampling.temperature + noise[token])


def _log_sum_exp(logits: Iterable[float]) -> float:
    values = list(logits)
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
