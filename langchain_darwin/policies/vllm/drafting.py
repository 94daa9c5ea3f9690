"""Texts that grow on a server: drafted there, checked and ended here.

A server's random stream starts again with each request. So that two short continuations equal one long one, a text is
drafted in blocks that end at fixed indices of the response. Each block has a seed made of the text's key and the index
at which its request begins. Tokens beyond what was asked for are kept for the next continuation (`PrefetchedTokens`).
An engine that draws each token by the seed and the token's index needs neither blocks nor tokens in advance.

A grammar is followed by letting the server draft freely and taking the draft up to the first token that the grammar
refuses. That token alone is drawn again among those allowed. Let Z be the probability of all allowed tokens. An allowed
token t of probability p(t) then comes with probability `p(t) + (1 - Z) p(t) / Z = p(t) / Z`. That is its probability in
a masked distribution. (With top-k or top-p, the cut of the draft is made before the mask, and that of the second draw
after it.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langchain_darwin.errors import InvalidRequestError, PolicyError
from langchain_darwin.policies.base import Codec, Sampling
from langchain_darwin.policies.sequences import TokenSequence, marked_text
from langchain_darwin.policies.vllm.prefetched import Drawn, PrefetchedTokens
from langchain_darwin.policies.vllm.replicas import Reader, Replicas, name_of
from langchain_darwin.policies.vllm.requests import Body, Piece, draft_body, forced_body, request_seed

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.grammars import Grammars


class Diverged(Exception):
    """A repeated request gave other tokens than those that were taken already."""


@dataclass
class Spent:
    """The work of servers for a policy.

    Attributes:
        requests: Completions asked for, repetitions not counted.
        drawn: Tokens that arrived.
        taken: Tokens that texts were given. The rest was drawn in advance and not needed (yet), or refused by a
            grammar.
    """

    requests: int = 0
    drawn: int = 0
    taken: int = 0


@dataclass(frozen=True, eq=False)
class Service:
    """The parts that texts of one model share.

    Attributes:
        replicas: The servers.
        codec: The model's tokenizer.
        block: Indices of a response that are multiples of this end a draft. None if a draw depends on the seed and on
            the token's index alone, not on where its request begins.
        prefetched: Tokens that were drawn in advance.
        spent: What the servers did.
    """

    replicas: Replicas
    codec: Codec
    block: int | None
    prefetched: PrefetchedTokens
    spent: Spent


class RemoteSequence:
    """One text that grows on a server."""

    def __init__(self, text: TokenSequence, service: Service, grammars: Grammars | None) -> None:
        """Go on with `text`.

        Args:
            text: Not done yet.
            service: What it shares with others.
            grammars: Where its matcher comes from, if it has a grammar.
        """
        self._text = text
        self._service = service
        self._grammars = grammars
        job = text.job
        self._home = name_of(job.prefix[: job.start] or job.prefix)
        self._block = service.block if job.sampling.temperature > 0 else None
        self._drawn: deque[Drawn] = deque()
        self._wanted: tuple[int, ...] = ()  # what the next token must be one of, by the grammar
        self._requests = 0
        self._accepted = False  # whether the grammar has been told of the next token already

    async def run(self) -> None:
        """Grow until the text is done."""
        text = self._text
        if text.grammar is not None and self._grammars is not None:
            text.matcher = self._grammars.matcher(text.grammar, text.job.prefix[text.job.start :])
        try:
            async with asyncio.timeout_at(text.job.deadline) as limit:
                await self._grow()
        except TimeoutError:
            if not limit.expired():
                raise
            text.finish, text.done = "timeout", True

    async def _grow(self) -> None:
        text, prefetched = self._text, self._service.prefetched
        if self._block:
            self._drawn.extend(prefetched.get(text.job, text.job.prefix))
        while not text.done:
            if self._wanted:
                await self._force()
            elif self._drawn:
                self.consume()
            else:
                await self._draft()
        if text.finish is None and self._block:
            prefetched.keep(text.job, (*text.job.prefix, *text.new), tuple(self._drawn))

    # ---- what a server is asked

    async def _draft(self) -> None:
        """Have the server draw up to the end of the block."""
        text, block = self._text, self._block
        index = text.length - text.job.start
        left = text.room - len(text.new)
        count = min(left, block - index % block) if block else text.most - len(text.new)
        at_once = text.submission.on_tokens is not None or text.job.deadline is not None or text.matcher is not None
        response = (*text.job.prefix[text.job.start :], *text.new)
        body = draft_body(
            (*text.job.prefix, *text.new),
            _as_drafted(text.job.sampling, response, self._service.codec),
            tokens=count,
            written=index,
            seed=request_seed(text.job.key, index if block else 0),
            end_ids=sorted(self._service.codec.end_ids),
            interval=1 if at_once else count,
        )
        try:
            await self._ask(body, _Reader(self), at_once=at_once)
        except Diverged:  # what was taken stays; the text goes on from there
            self._drawn.clear()

    async def _force(self) -> None:
        """Have the server draw one of the wanted tokens."""
        text, found = self._text, _First(self)
        seed = request_seed(text.job.key, text.length - text.job.start, again=True)
        body = forced_body((*text.job.prefix, *text.new), text.job.sampling, allowed=self._wanted, seed=seed)
        await self._ask(body, found)
        token, logprob = found.drawn
        if token not in self._wanted:
            msg = f"the server drew token {token}, which is not among the {len(self._wanted)} allowed_token_ids"
            raise PolicyError(msg)
        accepted, self._wanted, self._accepted = self._accepted, (), False
        if accepted or self._follow(token):
            self._take(token, logprob)

    async def _ask(self, body: Body, reader: Reader, *, at_once: bool = False) -> None:
        self._requests += 1
        self._service.spent.requests += 1
        await self._service.replicas.complete(self._home, body, reader, at_once=at_once)

    # ---- what it answers

    def receive(self, drawn: Drawn) -> bool:
        """Take a token of a draft; return True if more of the draft is wanted."""
        self._drawn.append(drawn)
        if not self._text.done and not self._wanted:
            self.consume()
        return not self._wanted and (not self._text.done or (self._text.finish is None and bool(self._block)))

    def consume(self) -> None:
        """Take the next drafted token, unless the grammar refuses it."""
        token, logprob = self._drawn.popleft()
        if self._text.matcher is not None and not self._allows(token):
            self._drawn.clear()
        elif self._follow(token):
            self._take(token, logprob)

    def charge(self, piece: Piece) -> None:
        """Note what an answer cost."""
        self._service.spent.drawn += len(piece.tokens)
        if self._requests == 1:
            length = len(self._text.job.prefix)
            reused = min(piece.cached or 0, length)
            self._text.cost = (length - reused, reused)

    def _allows(self, token: int) -> bool:
        """Return True if the grammar allows a token; else set `_wanted` to the tokens that it allows.

        Raises:
            InvalidRequestError: It allows none.
        """
        assert self._text.matcher is not None  # noqa: S101
        assert self._grammars is not None  # noqa: S101
        if self._grammars.allows(self._text.matcher, token):
            return True
        self._wanted = self._grammars.allowed_ids(self._text.matcher)
        if not self._wanted:
            msg = f"the grammar allows no token after {self._text.length - self._text.job.start} tokens of the response"
            raise InvalidRequestError(msg)
        return False

    def _follow(self, token: int) -> bool:
        """Tell the grammar of a token; return False if the text must be closed now, with the token in `_wanted`."""
        matcher = self._text.matcher
        if matcher is None:
            return True
        kept = matcher.accept(token, self._text.room - len(self._text.new) - 1)
        if kept != token:
            self._drawn.clear()
            self._wanted, self._accepted = (kept,), True
        return kept == token

    def _take(self, token: int, logprob: float) -> None:
        text = self._text
        text.take(token, logprob, self._service.codec)
        self._service.spent.taken += 1
        if text.submission.on_tokens is None or text.submission.future.done():
            return
        try:
            text.submission.on_tokens(text.index, (token,))
        except Exception as error:
            msg = f"on_tokens raised: {type(error).__name__}: {error}"
            raise PolicyError(msg) from error


def _as_drafted(sampling: Sampling, response: Sequence[int], codec: Codec) -> Sampling:
    """The sampling that a server is told: of stop strings it knows once the answer has begun, since it reads all."""
    if not sampling.stop or sampling.thought is None:
        return sampling
    thinks = sampling.thought.read(marked_text(response, codec))[1] is None
    return replace(sampling, stop=()) if thinks else sampling


class _Reader:
    """Reads a draft. Where its request was repeated, tokens that are known must come again."""

    def __init__(self, text: RemoteSequence) -> None:
        self._text = text
        self._known: list[int] = []
        self._at = 0

    def begin(self) -> None:
        self._at = 0

    def take(self, piece: Piece) -> bool:
        self._text.charge(piece)
        return all(map(self._one, zip(piece.tokens, piece.logprobs, strict=True)))

    def _one(self, drawn: Drawn) -> bool:
        self._at += 1
        if self._at > len(self._known):
            self._known.append(drawn[0])
            return self._text.receive(drawn)
        if self._known[self._at - 1] != drawn[0]:
            raise Diverged
        return True


class _First:
    """Reads the first token of an answer."""

    def __init__(self, text: RemoteSequence) -> None:
        self._text = text
        self.drawn: Drawn = (0, 0.0)

    def begin(self) -> None:
        pass

    def take(self, piece: Piece) -> bool:
        self._text.charge(piece)
        if piece.tokens:
            self.drawn = piece.tokens[0], piece.logprobs[0]
        return True
