"""A reward server on a Unix socket, in a thread of the test process, that can be told to misbehave."""

from __future__ import annotations

import contextlib
import json
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class RewardServer:
    """Answers with `reply(path, body)`, after the faults it was told of, one a request.

    Attributes:
        uds: Path of the socket.
        faults: "503", "429 in 0" (seconds to wait), "slow", "garbage", "truncated", "404"; used up from the front.
        bodies: What was posted, with its path and its headers.
        under_way: The most requests that were answered at one time.
    """

    def __init__(self, uds: str, reply: Callable[[str, Any], Any]) -> None:
        self.uds, self.reply = uds, reply
        self.faults: list[str] = []
        self.bodies: list[tuple[str, Any, dict[str, str]]] = []
        self.seconds = 0.0
        self.under_way = self._now = 0
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self._now += 1
            self.under_way = max(self.under_way, self._now)
        try:
            time.sleep(self.seconds)
            yield
        finally:
            with self.lock:
                self._now -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        mine: RewardServer = self.server.mine
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with mine.counted():
            with mine.lock:
                mine.bodies.append((self.path, body, dict(self.headers)))
                fault = mine.faults.pop(0) if mine.faults else ""
            if fault == "slow":
                time.sleep(0.5)
            if fault[:3] in ("503", "429", "404"):
                wait = {"Retry-After": fault.split(" in ")[1]} if " in " in fault else {}
                self._send(int(fault[:3]), b"not now", wait)
            elif fault == "garbage":
                self._send(200, b"<html>proxy</html>", {})
            elif fault == "truncated":
                self._send(200, b'{"data": [', {"Content-Length": "5000"})
                self.close_connection = True
            else:
                self._send(200, json.dumps(mine.reply(self.path, body)).encode(), {})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "test"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def vllm_reply(path: str, body: Any) -> Any:
    """Scores as vLLM writes them: the number of characters of the answer."""
    if path.endswith("/score"):
        data = [{"index": at, "score": float(len(text))} for at, text in enumerate(body["text_2"])]
        return {"data": data[::-1]}
    length = float(len(body["messages"][-1]["content"]))
    if path == "/pooling":
        return {"data": [{"index": 0, "data": [[0.0], [length]]}]}
    return {"data": [{"index": 0, "label": "LABEL_0", "probs": [length], "num_classes": 1}]}


@contextlib.contextmanager
def reward_server(reply: Callable[[str, Any], Any] = vllm_reply) -> Iterator[RewardServer]:
    with tempfile.TemporaryDirectory(prefix="reward-") as folder:
        mine = RewardServer(str(Path(folder) / "socket"), reply)
        with _Server(mine.uds, _Handler) as server:
            server.mine = mine
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            yield mine
            server.shutdown()
            thread.join()
