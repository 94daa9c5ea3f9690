"""What a block of a test leaves behind in this process: threads and sockets."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SECONDS = 10.0


@contextlib.contextmanager
def nothing_left(running: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Fails if threads or sockets of this process, or requests on a server, outlive the block by `SECONDS`.

    Threads and sockets that were there before may stay, and so may the executor of an event loop, which ends with
    it; `running` counts the server's unfinished requests.
    """
    threads, sockets = open_threads(), open_sockets()

    def left() -> list[object]:
        requests = [f"{count} requests on the server" for count in [running()] if count]
        return [*(open_threads() - threads), *(open_sockets() - sockets), *requests]

    yield
    ends = time.monotonic() + SECONDS
    while (found := left()) and time.monotonic() < ends:
        gc.collect()
        time.sleep(0.05)
    if found:
        raise AssertionError(f"left behind: {found}")


def open_threads() -> set[threading.Thread]:
    """The threads of this process, those of event loops' executors left out."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def open_sockets() -> set[str]:
    """The sockets of this process, by the kernel's numbers (Linux)."""
    return {target for target in map(_target, Path("/proc/self/fd").iterdir()) if target.startswith("socket:")}


def _target(descriptor: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile, as the folder's own descriptor is
        return str(descriptor.readlink())
    return ""
