"""Servers of one model: which of them is asked, when to ask again, and the error when none answers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from langchain_darwin.errors import DarwinError, PolicyError
from langchain_darwin.policies.vllm.backend import Backend
from langchain_darwin.policies.vllm.refusals import explained, joined, not_served, unanswered
from langchain_darwin.policies.vllm.requests import Body, Piece
from langchain_darwin.runtime.http_retries import Refusal, is_passing, retry_rules

if TYPE_CHECKING:
    import tenacity

_T = TypeVar("_T")

_LONGEST_WAIT = 20.0  # seconds between two tries
_FIRST_TRIES = 2  # repetitions of the very first request: a mistyped address should be an error at once
_SHORTEST_AVOIDANCE = 5.0  # seconds that a server that failed is not asked; doubled with each failure in a row
_LONGEST_AVOIDANCE = 60.0
_KEPT_HOMES = 8192  # prompts

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """A reader of answers, from the beginning each time that the request is repeated."""

    def begin(self) -> None:
        """The answer begins."""
        ...

    def take(self, piece: Piece) -> bool:
        """Read a piece; return True if more is wanted."""
        ...


class Replicas:
    """Several servers of one model. Texts of one prompt go to one of them, as long as it answers.

    A new prompt goes to the server with the fewest requests. Between equals, a hash of prompt and address decides, so
    that other processes choose alike.

    Args:
        servers: At least one.
        model: The served name, part of every request.
        max_retries: How often a request is repeated, moves to another server not counted.
    """

    def __init__(self, servers: Sequence[Backend], model: str, max_retries: int) -> None:
        self.servers = tuple(servers)
        self._model = model
        self._max_retries = max_retries
        self._homes: OrderedDict[bytes, Backend] = OrderedDict()

    async def complete(self, home: bytes, body: Body, reader: Reader, *, at_once: bool = False) -> None:
        """Ask for a completion, again and elsewhere if need be.

        Args:
            home: Name of the prompt; see `name_of`.
            body: The request, without the model.
            reader: Gets the answer.
            at_once: As of `Backend.complete`.

        Raises:
            DarwinError: The request was refused, or no server answered; it says what to do.
        """
        body = {"model": self._model, **body}

        async def ask(server: Backend) -> None:
            reader.begin()
            await server.complete(body, reader.take, at_once=at_once)

        await self._ask(ask, lambda: self._choose(home), self._max_retries)

    async def served(self) -> list[dict[str, Any]]:
        """Return the model's description by each server that answers; at least one.

        Raises:
            ModelNotFound: A server does not serve it.
            DarwinError: None answers.
        """
        tries = min(_FIRST_TRIES, self._max_retries)
        asked = [self._ask(_models, partial(_itself, server), tries) for server in self.servers]
        found = await asyncio.gather(*asked, return_exceptions=True)
        answers = [each for each in found if isinstance(each, list)]
        failed = [each for each in found if isinstance(each, BaseException)]
        if not answers or any(not isinstance(error, PolicyError) for error in failed):
            raise failed[0] if len(failed) == 1 else joined(failed)
        return [self._described(models) for models in answers]

    def _described(self, models: Sequence[dict[str, Any]]) -> dict[str, Any]:
        found = next((model for model in models if model.get("id") == self._model), None)
        if found is None:
            raise not_served(self._model, models)
        return found

    async def _ask(self, ask: Callable[[Backend], Awaitable[_T]], choose: Callable[[], Backend], tries: int) -> _T:
        """Ask the server that is chosen at each try."""
        from tenacity import AsyncRetrying

        said: dict[str, str] = {}

        async def once() -> _T:
            server = choose()
            try:
                answer = await ask(server)
            except Exception as error:
                if is_passing(error):
                    said[server.url] = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                    self._avoid(server, error)
                elif isinstance(error, Refusal):
                    raise await explained(error, server, self._model) from error
                raise
            server.failures, server.down_until = 0, 0.0
            return answer

        try:
            result: _T = await AsyncRetrying(**self._rules(tries))(once)
        except DarwinError:
            raise
        except Exception as error:
            if not is_passing(error):
                raise
            raise unanswered(said, self.servers[0].remedy) from error
        return result

    def _rules(self, tries: int) -> dict[str, Any]:
        """As for every server, but without a wait where another one is up."""
        import tenacity

        rules = retry_rules(tries, _LONGEST_WAIT)
        patient: Callable[[tenacity.RetryCallState], float] = rules["wait"]
        others = len(self.servers) - 1

        def wait(state: tenacity.RetryCallState) -> float:
            return 0.0 if others and any(map(_is_up, self.servers)) else patient(state)

        return {**rules, "wait": wait, "stop": tenacity.stop_after_attempt(tries + 1 + others)}

    def _choose(self, home: bytes) -> Backend:
        """Return the server for texts of a prompt: the one they went to before, unless it is down."""
        server = self._homes.get(home)
        if server is None or not _is_up(server):
            up = [each for each in self.servers if _is_up(each)]
            soonest = min(self.servers, key=lambda each: each.down_until)
            server = min(up, key=lambda each: (each.asking, _lot(home, each)), default=soonest)
        self._homes[home] = server
        self._homes.move_to_end(home)
        while len(self._homes) > _KEPT_HOMES:
            self._homes.popitem(last=False)
        return server

    def _avoid(self, server: Backend, error: Exception) -> None:
        """Ask others for a while."""
        server.failures += 1
        least = getattr(error, "retry_after", None) or 0.0
        seconds = min(_LONGEST_AVOIDANCE, _SHORTEST_AVOIDANCE * 2 ** min(server.failures - 1, 8))
        server.down_until = asyncio.get_running_loop().time() + max(seconds, least)
        level = logging.WARNING if server.failures == 1 else logging.DEBUG  # once, until it answers again
        _log.log(level, "%s failed, and is asked again later: %s: %s", server.url, type(error).__name__, error)


def name_of(prompt: Sequence[int]) -> bytes:
    """A short name for a prompt, by which its texts find the server that holds it."""
    return hashlib.blake2b(repr(tuple(prompt)).encode(), digest_size=16).digest()


async def _models(server: Backend) -> list[dict[str, Any]]:
    return await server.models()


def _itself(server: Backend) -> Backend:
    return server


def _is_up(server: Backend) -> bool:
    return server.down_until <= asyncio.get_running_loop().time()


def _lot(home: bytes, server: Backend) -> bytes:
    """Rendezvous hashing: the order of the servers for a prompt."""
    return hashlib.blake2b(home + server.url.encode(), digest_size=8).digest()
