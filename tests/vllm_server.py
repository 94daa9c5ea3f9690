"""A real vLLM server on a free loopback port, for tests: started, killed, restarted and always stopped.

`make vllm-venv` installs the server into `.venv-vllm`; `VLLM_PYTHON` names another interpreter that has it, and
an empty `VLLM_PYTHON` means that there is none.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

NAME = "smollm2"
"""The served name of the embedded model."""

START_SECONDS = 180

# The server's whole process group ends with it, and with the process that holds the other end of its standard input.
_LIFELINE = '{ "$@" </dev/null; kill -KILL 0; } & cat >/dev/null; kill -KILL 0'

# On a CPU, this version dies of a request with a seed whose prompt is read in several pieces.
_CPU = (
    "--enforce-eager",
    "--max-model-len=2048",
    "--max-num-batched-tokens=2048",
    "--no-enable-chunked-prefill",
    "--block-size=32",  # of the prefix cache; 128 otherwise, which is more than most prompts
)
_FACTS = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
_UNFINISHED = re.compile(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)$", re.MULTILINE)


class ServerDied(Exception):
    """The server did not come up; the message ends with the end of its log."""


class VLLMServer:
    """One server process group.

    Attributes:
        base_url: "http://127.0.0.1:port".
        log: The file that holds what the server says.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.log = log
        self._address = ("127.0.0.1", port)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        with self.log.open("ab") as log:
            self._process = self._spawn(log)
        ends = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.kill()
                raise ServerDied(f"{' '.join(self._command)}\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        while self._listens():
            time.sleep(0.02)

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def running(self) -> int:
        """How many requests it works on or holds in its queue."""
        return int(sum(map(float, _UNFINISHED.findall(self.get("/metrics")))))

    def get(self, path: str) -> str:
        """The text at a path."""
        with urllib.request.urlopen(self.base_url + path, timeout=30) as answer:
            return answer.read().decode()

    def _answers(self) -> bool:
        try:
            self.get("/health")
        except OSError:
            return False
        return True

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self._address) == 0

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "VLLM_"))}
        return subprocess.Popen(
            ["sh", "-c", _LIFELINE, "vllm", *self._command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, **_FACTS},
            start_new_session=True,
        )


@contextlib.contextmanager
def serve(
    dtype: str = "bfloat16", port: int | None = None, extra: Sequence[str] = (), model: str | Path | None = None
) -> Iterator[VLLMServer]:
    """A running server of the embedded model, or of another folder; skips the test where vLLM is not installed.

    Args:
        dtype: Of weights and computation: "bfloat16" or "float32".
        port: On loopback; None takes a free one.
        extra: More of the server's options.
        model: The folder to serve, under the name `NAME`.
    """
    python, port = vllm_python(), port or free_port()
    place = (f"--served-model-name={NAME}", "--host=127.0.0.1", f"--port={port}")
    served = (f"--model={model or embedded_folder()}", f"--dtype={dtype}", *_CPU, *extra)
    command = (python, "-m", "vllm.entrypoints.openai.api_server", *place, *served)
    with tempfile.TemporaryDirectory(prefix="vllm-") as folder:
        server = VLLMServer(command, port, Path(folder) / "log")
        try:
            server.start()
            yield server
        finally:
            server.kill()


def vllm_python() -> str:
    """The interpreter that has vLLM; skips the test if there is none."""
    python = Path(os.environ.get("VLLM_PYTHON", ".venv-vllm/bin/python"))
    if not python.is_file():
        pytest.skip("needs a vLLM server, which `make test-vllm` installs (into .venv-vllm), starts and stops")
    return str(python.absolute())


def embedded_folder() -> Path:
    """What `langchain-darwin model-path` prints."""
    from langchain_darwin.inference.embedded_model import embedded_model_path

    return embedded_model_path()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
