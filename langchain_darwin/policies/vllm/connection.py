"""The parts that policies of one served model share: its servers, its tokenizer, tokens drawn in advance."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_darwin.inference.chat_codec import ChatCodec
from langchain_darwin.inference.shared_models import SharedModels
from langchain_darwin.policies.base import Constraint, Growth, Job, OnTokens, Proposal
from langchain_darwin.policies.grammar.lazy_grammars import LazyGrammars
from langchain_darwin.policies.sequences import Submission, TokenSequence, open_submission
from langchain_darwin.policies.vllm.backend import Backend
from langchain_darwin.policies.vllm.drafting import RemoteSequence, Service, Spent
from langchain_darwin.policies.vllm.engine.settings import EngineSettings
from langchain_darwin.policies.vllm.prefetched import PrefetchedTokens
from langchain_darwin.policies.vllm.replicas import Replicas, name_of
from langchain_darwin.policies.vllm.requests import Piece, proposal_body
from langchain_darwin.policies.vllm.server import Server
from langchain_darwin.policies.vllm.tokenizer import load_codec
from langchain_darwin.runtime.background_loop import background_loop
from langchain_darwin.runtime.forks import PerProcess, ProcessBound

if TYPE_CHECKING:
    from pydantic import SecretStr

    from langchain_darwin.policies.grammar.matcher import CompiledGrammar

_T = TypeVar("_T")


_ENGINE_RETRIES = 1  # a request that an engine died of is asked once more, of a new engine


@dataclass(frozen=True)
class ServerTarget:
    """Servers over HTTP; the settings of `VLLMPolicy`, documented there."""

    base_urls: tuple[str, ...]
    name: str
    tokenizer: str | None
    api_key: SecretStr | None
    request_timeout: float
    max_retries: int
    max_concurrency: int
    block: int
    revision = None

    def backends(self) -> list[Backend]:
        """Make the clients of all servers."""
        timeout, most = self.request_timeout, self.max_concurrency
        return [
            Server(url, api_key=self.api_key, request_timeout=timeout, max_concurrency=most) for url in self.base_urls
        ]


@dataclass(frozen=True)
class EngineTarget:
    """An engine in this process; the settings of `VLLMPolicy`, documented there."""

    settings: EngineSettings
    tokenizer: str | None
    block: int
    max_retries = _ENGINE_RETRIES

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.name

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit of the model."""
        return self.settings.revision

    def backends(self) -> list[Backend]:
        """Make the one engine, which starts when it is asked."""
        from langchain_darwin.policies.vllm.engine.server import EngineServer
        from langchain_darwin.policies.vllm.engine.start import start_engine

        return [EngineServer(self.name, partial(start_engine, self.settings))]


Target = ServerTarget | EngineTarget


class Connection(ProcessBound):
    """A served model, ready to decode.

    Attributes:
        codec: The model's tokenizer and chat template.
        context_length: Most tokens of prompt and response together, on the server that allows the fewest.
        spent: What the servers did so far.
    """

    def __init__(self, target: Target) -> None:
        """Ask the servers what they serve, or start the engine, and read the tokenizer.

        Raises:
            DarwinError: No server answers, or serves the model, or there is no tokenizer.
        """
        super().__init__()
        self._loop = background_loop("langchain-darwin-http")
        backends = target.backends()
        for backend in backends:
            self._loop.hold(backend, owner=self)
        replicas = Replicas(backends, target.name, target.max_retries)
        served = self._loop.run(replicas.served()).result()
        self.context_length = min(int(each["max_model_len"]) for each in served)
        root = str(served[0].get("root") or "")
        self.codec: ChatCodec = load_codec(target.name, root, target.tokenizer, target.revision)
        self.spent = Spent()
        block = None if served[0].get("draws_by_position") else target.block
        self._service = Service(replicas, self.codec, block, PrefetchedTokens(), self.spent)
        self._grammars = LazyGrammars(self.codec, len(self.codec.tokenizer))

    def compile(self, constraint: Constraint) -> CompiledGrammar:
        """A constraint's grammar; a new one takes from milliseconds to seconds, a known one none."""
        return self._grammars().compile(constraint)

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None) -> Future[list[Growth]]:
        """Continue each job; see `Policy.submit`."""
        submission = open_submission(jobs, on_tokens, self.context_length, self.codec, self.compile)
        submission.future = self._loop.run(self._grow(submission))
        return submission.future

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None
    ) -> Future[list[Proposal]]:
        """The likeliest next tokens; see `Policy.propose`."""
        return self._loop.run(_all_of([self._proposal(prefix, k, among) for prefix in prefixes]))

    async def _grow(self, submission: Submission) -> list[Growth]:
        await _all_of([self._growing(text).run() for text in submission.texts if not text.done])
        return [text.growth() for text in submission.texts]

    def _growing(self, text: TokenSequence) -> RemoteSequence:
        return RemoteSequence(text, self._service, self._grammars() if text.grammar else None)

    async def _proposal(self, prefix: tuple[int, ...], k: int, among: Sequence[int] | None) -> Proposal:
        reader = _Candidates()
        self.spent.requests += 1
        await self._service.replicas.complete(name_of(prefix), proposal_body(prefix, k, among), reader)
        self.spent.drawn += 1
        wanted = reader.found if among is None else {token: reader.found[token] for token in among}
        best = sorted(wanted, key=lambda token: -wanted[token])[: k if among is None else len(wanted)]
        reused = min(reader.cached, len(prefix))
        return Proposal(tuple(best), tuple(wanted[token] for token in best), len(prefix) - reused, reused)


def connect(target: Target) -> Connection:
    """Return the connection to a target, shared by all who hold it; the latest is kept."""
    return _shared.get().get(target, lambda: Connection(target))


class _Candidates:
    """Reads the log-probabilities of possible next tokens."""

    def __init__(self) -> None:
        self.found: dict[int, float] = {}
        self.cached = 0

    def begin(self) -> None:
        self.found = {}

    def take(self, piece: Piece) -> bool:
        self.found = self.found or dict(piece.candidates or {})
        self.cached = piece.cached or self.cached
        return True


async def _all_of(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return all results in order. The first failure, or being cancelled, ends all of the work first."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_shared: PerProcess[SharedModels[Target, Connection]] = PerProcess(SharedModels)
