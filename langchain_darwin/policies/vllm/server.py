"""One vLLM server over HTTP: asked once, with what it answers checked and passed on piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_darwin.policies.vllm.backend import Take
from langchain_darwin.policies.vllm.requests import Body, Piece, is_done, read_line
from langchain_darwin.runtime.http_retries import BrokenAnswer, answered, httpx_for

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr

_IDLE_SECONDS = 3.0  # less than servers keep idle connections, so that none is used that is just being closed


class Server:
    """One address. All of it but the constructor runs on one event loop; see `Backend`.

    Attributes:
        url: Address without a path of the API.
    """

    remedy = "is the server up and the address right? See also max_retries and request_timeout"

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None,
        request_timeout: float,
        max_concurrency: int,
        transport: Any = None,
    ) -> None:
        """Open no connection yet.

        Args:
            url: Address without a path of the API.
            api_key: Sent as a bearer token.
            request_timeout: Seconds that connecting, and every wait for the server to say more, may take.
            max_concurrency: Most requests under way at a time; others wait here.
            transport: An httpx transport in place of the network.

        Raises:
            MissingDependencyError: httpx is not installed.
        """
        library = httpx_for("VLLMPolicy")
        self.url = url
        self.asking = 0
        self.failures = 0
        self.down_until = 0.0
        self._turn = asyncio.Semaphore(max_concurrency)
        self._make_client: Callable[[], httpx.AsyncClient] = partial(
            library.AsyncClient,
            base_url=url,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key.get_secret_value()}"},
            timeout=library.Timeout(request_timeout, pool=None),
            limits=library.Limits(max_keepalive_connections=max_concurrency, keepalive_expiry=_IDLE_SECONDS),
            transport=transport,
            verify=library.create_ssl_context(),
        )
        self._client: httpx.AsyncClient | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    async def aclose(self) -> None:
        """Close its connections; new ones are made if it is asked again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """Return `id`, `root` and `max_model_len` of each model that it serves.

        Raises:
            Refusal: It answered, but with an error.
            BrokenAnswer: It answered something else.
            httpx.TransportError: It did not answer.
        """
        with self._asked() as client:
            response = answered(await client.get("/v1/models"))
        try:
            return [dict(model) for model in response.json()["data"]]
        except (ValueError, LookupError, TypeError) as error:
            msg = f"answered GET /v1/models with {response.text[:200]!r}, which lists no models; is it a vLLM server?"
            raise BrokenAnswer(msg) from error

    async def complete(self, body: Body, take: Take, *, at_once: bool) -> None:
        """Post a request for a completion and pass on what comes.

        Args:
            body: The request.
            take: Gets the pieces, in order.
            at_once: Pass on each piece as it comes, not only once the answer is known to be whole.

        Raises:
            Refusal: It answered with an error.
            BrokenAnswer: The answer broke off or is not what was asked for.
            httpx.TransportError: It did not answer, or the connection broke.
        """
        with self._asked() as client:
            async with self._turn:
                await _complete(client, body, take, at_once)

    @contextmanager
    def _asked(self) -> Iterator[httpx.AsyncClient]:
        """A client, whose connections are closed when nobody has used it for a while."""
        if self._closing is not None:
            self._closing.cancel()
        self._client = self._client or self._make_client()
        self.asking += 1
        try:
            yield self._client
        finally:
            self.asking -= 1
            if not self.asking:
                self._closing = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close)

    def _close(self) -> None:
        self._closed = asyncio.ensure_future(self.aclose())


async def _complete(client: httpx.AsyncClient, body: Body, take: Take, at_once: bool) -> None:
    answer = _Answer(body["max_tokens"])
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if not response.is_success:
            await response.aread()
        answered(response)
        async for line in response.aiter_lines():
            piece = answer.read(line)
            if piece is not None and at_once and not take(piece) and not piece.ended:
                return  # closes the connection, which makes the server stop
    answer.check()
    for piece in () if at_once else answer.pieces:
        take(piece)


class _Answer:
    """The part of one answer that has been read."""

    def __init__(self, most: int) -> None:
        self.pieces: list[Piece] = []
        self._length = 0
        self._most = most
        self._done = False

    def read(self, line: str) -> Piece | None:
        """Read a line; return the piece that it adds, if any."""
        if is_done(line):
            self._done = True
            return None
        piece = read_line(line)
        if piece is not None:
            self._add(piece)
        return piece

    def check(self) -> None:
        """Raise `BrokenAnswer` unless the answer is whole."""
        if not self._done or not any(piece.ended for piece in self.pieces):
            msg = f"broke off after {self._length} of {self._most} tokens"
            raise BrokenAnswer(msg)
        totals = [piece.total for piece in self.pieces if piece.total is not None]
        if not self._length or any(total != self._length for total in totals):
            msg = f"sent {self._length} tokens and says that they are {totals}"
            raise BrokenAnswer(msg)

    def _add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._length += len(piece.tokens)
        if self._length > self._most:
            msg = f"sent {self._length} tokens, but {self._most} were asked for"
            raise BrokenAnswer(msg)
