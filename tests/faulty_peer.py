"""An HTTP peer on loopback that misbehaves when told to: in front of a real server, or alone with ready answers.

It listens on a real TCP port, so that refused, reset and half-finished connections are what they are in the field.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Reply = Callable[[str, bytes], bytes]
"""`(path, body) -> JSON text`: what a peer without a server answers."""


@dataclass(frozen=True)
class Delayed:
    """The answer comes after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Answered:
    """The peer answers itself, and the server never hears of the request."""

    status: int = 200
    body: bytes = b"<html>a proxy's error page</html>"
    headers: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Cut:
    """The server's answer breaks off after `after` bytes of its body: the connection is closed, or reset."""

    after: int = 20
    reset: bool = False


Fault = Delayed | Answered | Cut


class FaultyPeer:
    """A proxy in front of `upstream`, or a peer that answers by `reply`.

    Attributes:
        base_url: "http://127.0.0.1:port".
        faults: What happens to the next POST requests, one each, from the front.
        always: What happens to POST requests when `faults` is empty, or None.
        asked: Paths of all requests so far.
        open: Connections that are open now.
        most: The most connections that were open at one time.
    """

    def __init__(self, upstream: str | None, reply: Reply | None) -> None:
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.asked: list[str] = []
        self.most = 0
        self.base_url = ""
        self._upstream = urlsplit(upstream or "")
        self._reply = reply
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-peer")
        self._port = 0

    @property
    def open(self) -> int:
        return len(self._connections)

    def up(self) -> None:
        """Listen, on the same port as before."""
        if not self._thread.is_alive():
            self._thread.start()
        self._wait(self._listen())

    def down(self) -> None:
        """Refuse connections from now on, and reset those that are open."""
        self._wait(self._hang_up())

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", self._port, backlog=256)
        self._port = self._listener.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}"

    async def _hang_up(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._converse(reader, writer))
        self._connections.add(connection)
        self.most = max(self.most, self.open)
        connection.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until one side closes it; a cancelled one is reset."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one_request(reader, writer):
                    pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the next request; False when the connection is to be closed."""
        head, body = await _message(reader)
        method, path, _ = head.split(b" ", 2)
        self.asked.append(path.decode())
        fault = self._next_fault() if method == b"POST" else None
        if isinstance(fault, Delayed) and await _gone_within(reader, fault.seconds):
            return False
        if isinstance(fault, Answered):
            return await _send(writer, fault.status, fault.body, fault.headers)
        if self._reply is not None:
            return await _send(writer, 200, self._reply(path.decode(), body), {})
        await self._forward(head, body, reader, writer, fault if isinstance(fault, Cut) else None)
        return False

    def _next_fault(self) -> Fault | None:
        return self.faults.popleft() if self.faults else self.always

    async def _forward(
        self,
        head: bytes,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: Cut | None,
    ) -> None:
        """Ask the server; if the client leaves before the answer's end, leave the server, too."""
        theirs, ours = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            ours.write(_closing(head) + body)
            relay = asyncio.ensure_future(_relay(theirs, writer, cut))
            leaving = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({relay, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                relay.cancel()
                leaving.cancel()
                await asyncio.gather(relay, leaving, return_exceptions=True)
        finally:
            ours.close()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(int(_header(head, b"content-length") or 0))


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _closing(head: bytes) -> bytes:
    """The request's head, asking the server to close the connection after its answer."""
    lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _relay(theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None) -> None:
    """Hand on the answer until its end, or until it is cut."""
    writer.write(await theirs.readuntil(b"\r\n\r\n"))
    if cut is not None:
        writer.write(await theirs.readexactly(cut.after))
        await writer.drain()
        if cut.reset:
            writer.transport.abort()
        return
    while piece := await theirs.read(65536):
        writer.write(piece)
        await writer.drain()


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
    lines = [f"HTTP/1.1 {status} Said by a peer", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    return True


async def _gone_within(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait; whether the client has left meanwhile."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)
        return True
    return False


@contextlib.contextmanager
def faulty_peer(upstream: str | None = None, *, reply: Reply | None = None) -> Iterator[FaultyPeer]:
    """A peer that listens until the end of the block, and leaves no thread or socket behind.

    Args:
        upstream: Address of the server to stand in front of.
        reply: What to answer without a server.
    """
    peer = FaultyPeer(upstream, reply)
    try:
        peer.up()
        yield peer
    finally:
        peer.close()
