"""Runs a function in a real forked child, and says what became of it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable


def in_forked_child(function: Callable[[], object], timeout: float = 30) -> str:
    """The `str` of what `function` returns or raises in a child of `os.fork()`; "no answer" after `timeout` seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = str(function())
        except BaseException as error:  # noqa: BLE001  (told to the parent)
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode()[:4096])
        os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], timeout)
        return os.read(reading, 4096).decode() if ready else "no answer"
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
