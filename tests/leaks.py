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

    Threads and sockets that were there before may stay; `running` counts the server's unfinished requests.
    """
    threads, sockets = set(threading.enumerate()), open_sockets()

    def left() -> tuple[set[threading.Thread], set[str], int]:
        return set(threading.enumerate()) - threads, open_sockets() - sockets, running()

    yield
    ends = time.monotonic() + SECONDS
    while left() != (set(), set(), 0) and time.monotonic() < ends:
        gc.collect()
        time.sleep(0.05)
    assert left() == (set(), set(), 0)


def open_sockets() -> set[str]:
    """The sockets of this process, by the kernel's numbers (Linux)."""
    return {target for target in map(_target, Path("/proc/self/fd").iterdir()) if target.startswith("socket:")}


def _target(descriptor: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile, as the folder's own descriptor is
        return str(descriptor.readlink())
    return ""
