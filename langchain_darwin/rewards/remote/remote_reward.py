"""Reward models behind HTTP."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from langchain_darwin.rewards.calls import gather, in_thread
from langchain_darwin.rewards.checks import refused, short
from langchain_darwin.runtime.fingerprints import identity_of
from langchain_darwin.runtime.http_retries import BrokenAnswer, Gates, Refusal, answered, httpx_for, retry_rules
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    import httpx
    from langchain_core.messages import AIMessage, BaseMessage

    from langchain_darwin.rewards.remote.endpoints import Endpoint

_gates = Gates()


@dataclass(frozen=True)
class RemoteReward:
    """The score that a server gives; any real number.

        RemoteReward("http://localhost:8000", Classify("my-reward-model"))

    A request that finds no connection, times out, breaks off, or is answered with 408, 425, 429, 5xx or what is not
    JSON is repeated. It waits a random, growing time, and not less than the server's `Retry-After`. Everything else
    is an error at once: it names the address, the status and what the server said. At most `concurrency` requests
    run at a time, in all searches of an event loop together (and in all synchronous ones). So a hundred searches
    queue here and not in the server. Needs httpx: `pip install 'langchain-darwin[vllm]'`.

    Whether unfinished text may be judged depends on the model behind the address, so it is not unless asked for.

    Attributes:
        url: Address without the endpoint's path.
        endpoint: `Classify`, `Pairs`, `Json`, or an `Endpoint` of your own.
        api_key: Sent as a bearer token; never shown, and not part of the identity.
        request_timeout: Seconds that connecting, and every wait for the server to say more, may take.
        retries: How often a request is repeated.
        concurrency: Most requests under way at a time.
        longest_wait: Seconds between two tries at most; a server that asks for more is not asked again.
        partial: Whether to judge unfinished text.
        uds: Path of the Unix socket to connect to, or None for TCP.
    """

    url: str
    endpoint: Endpoint
    api_key: SecretStr | str | None = field(default=None, repr=False)
    request_timeout: float = 30.0
    retries: int = 3
    concurrency: int = 16
    longest_wait: float = 20.0
    partial: bool = False
    uds: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings outside their range, and keep the key out of sight."""
        check_range("request_timeout", self.request_timeout, low=0, low_open=True)
        check_range("retries", self.retries, low=0)
        check_range("concurrency", self.concurrency, low=1)
        check_range("longest_wait", self.longest_wait, low=0)
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key))

    @property
    def name(self) -> str:
        """The served model, or the address."""
        return str(getattr(self.endpoint, "model", "") or self._address)

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response; several requests go out side by side."""
        bodies, asked = self._requests(messages, responses)
        library = httpx_for("RemoteReward")
        with library.Client(transport=library.HTTPTransport(uds=self.uds), **self._options()) as client:
            waiting = [in_thread(partial(self._ask, client, body, asked)) for body in bodies]
            concurrent.futures.wait(waiting)
        return [score for future in waiting for score in future.result()]

    async def acall(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """The same without blocking the event loop."""
        bodies, asked = self._requests(messages, responses)
        library = httpx_for("RemoteReward")
        transport = library.AsyncHTTPTransport(uds=self.uds)
        async with library.AsyncClient(transport=transport, **self._options()) as client:
            answers = await gather([self._aask(client, body, asked) for body in bodies])
        return [score for scores in answers for score in scores]

    def identity(self) -> dict[str, Any]:
        """Address and endpoint; the key is left out."""
        place = {"url": self.url, "uds": self.uds, "endpoint": identity_of(self.endpoint)}
        return {"reward": "RemoteReward", **place, "partial": self.partial}

    @property
    def _address(self) -> str:
        return self.url.rstrip("/") + self.endpoint.path

    def _options(self) -> dict[str, Any]:
        key = self.api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if isinstance(key, SecretStr) else {}
        return {"timeout": self.request_timeout, "headers": headers}

    def _requests(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> tuple[list[Any], int]:
        """The bodies to post, and how many responses each is about."""
        bodies = self.endpoint.bodies(messages, responses)
        return bodies, len(responses) // max(1, len(bodies))

    def _ask(self, client: httpx.Client, body: Any, asked: int) -> list[float]:
        from tenacity import Retrying

        gate = _gates.of_threads((self._address, self.concurrency), self.concurrency)

        def once() -> Any:
            with gate:
                return _decoded(client.post(self._address, json=body))

        with self._blamed():
            answer: Any = Retrying(**retry_rules(self.retries, self.longest_wait))(once)
        return self._read(answer, asked)

    async def _aask(self, client: httpx.AsyncClient, body: Any, asked: int) -> list[float]:
        from tenacity import AsyncRetrying

        gate = _gates.of_loop((self._address, self.concurrency), self.concurrency)

        async def once() -> Any:
            async with gate:
                return _decoded(await client.post(self._address, json=body))

        with self._blamed():
            answer: Any = await AsyncRetrying(**retry_rules(self.retries, self.longest_wait))(once)
        return self._read(answer, asked)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Make what is left after all tries an error that names the address."""
        library = httpx_for("RemoteReward")
        try:
            yield
        except Refusal as error:
            raise refused(self.name, f"at {self._address} {error}", "look into the server's log") from error
        except BrokenAnswer as error:
            raise refused(self.name, f"at {self._address} {error}", "is it the address of the server?") from error
        except library.TransportError as error:
            what = f"at {self._address} could not be asked: {type(error).__name__}: {error}"
            raise refused(self.name, what, "is the server up? See url, request_timeout and retries") from error

    def _read(self, answer: Any, asked: int) -> list[float]:
        """The scores in an answer, or an error that shows it."""
        try:
            return self.endpoint.scores(answer, asked)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"at {self._address} answered {short(answer)}, in which {type(self.endpoint).__name__} finds"
            remedy = "is it the right endpoint for this server?"
            raise refused(self.name, f"{what} no score ({type(error).__name__}: {error})", remedy) from error


def _decoded(response: httpx.Response) -> Any:
    """The JSON of a success."""
    try:
        return answered(response).json()
    except ValueError as error:
        msg = f"answered {short(response.text)}, which is not JSON"
        raise BrokenAnswer(msg) from error
