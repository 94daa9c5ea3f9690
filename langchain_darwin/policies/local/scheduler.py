"""Who joins the batch, in which order, and how many rows it may have. Pure: no tensors, no clock, no thread.

Requests that have begun go before new ones, and each kind is served in turn. Were all searches begun at once, each
would have lost its place in memory by the time that its turn comes again. A new request therefore waits until the
searches that began before it leave a row free. Since these are finitely many and each of them ends, it gets one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from langchain_darwin.runtime.prefixes import shared_length

PORTION = 2048  # tokens of new prompts read between two steps of live texts
_CALM = 256  # steps without a shortage of memory, after which one row more is tried
_UNLIMITED = 2**62


class Request(Protocol):
    """What the scheduler must know of a text, or of a prefix whose next tokens are proposed."""

    read: int  # leading tokens that were computed while it waited

    @property
    def tokens(self) -> tuple[int, ...]:
        """All token ids of the text so far."""
        ...

    @property
    def begun(self) -> bool:
        """True if most of it was computed before, so that it would lose memory by waiting."""
        ...


_Request = TypeVar("_Request", bound=Request)


@dataclass(frozen=True)
class Admission(Generic[_Request]):
    """What is computed before the next step.

    Attributes:
        whole: Requests that get a row now, in order.
        ahead: A request too long to be read at once, which gets no row yet, or None.
        upto: How many of its leading tokens are read.
    """

    whole: Sequence[_Request] = ()
    ahead: _Request | None = None
    upto: int = 0


class Scheduler(Generic[_Request]):
    """Holds the requests that wait.

    Attributes:
        limit: Most rows. It falls when memory runs out, and rises by one after each 256 steps that found enough.
            There is no limit for what comes when nothing is live and nothing waits.
    """

    def __init__(self, portion: int = PORTION) -> None:
        """Let nothing wait yet.

        Args:
            portion: Most tokens of new requests that are read between two steps.
        """
        self.limit = _UNLIMITED
        self._portion = portion
        self._waiting: deque[_Request] = deque()
        self._calm = 0

    @property
    def waiting(self) -> tuple[_Request, ...]:
        """The requests that wait, first come first."""
        return tuple(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, requests: Iterable[_Request], live: int) -> None:
        """Let requests wait their turn, while `live` rows are live."""
        if not live and not self._waiting:
            self.limit, self._calm = _UNLIMITED, 0  # all memory is free
        self._waiting.extend(requests)
        self._waiting = deque(sorted(self._waiting, key=lambda request: not request.begun))

    def drop(self, is_gone: Callable[[_Request], bool]) -> None:
        """Forget the requests that nobody waits for."""
        if any(map(is_gone, self._waiting)):
            self._waiting = deque(request for request in self._waiting if not is_gone(request))

    def admit(self, free: int, live: int) -> Admission[_Request]:
        """Take out the requests that get a row now.

        Args:
            free: How many rows can be opened.
            live: How many are live. If there are any, new requests are read in portions between their steps.
        """
        rows = min(free, self.limit - live)
        room = self._portion if live else _UNLIMITED
        admitted: list[_Request] = []
        while self._waiting and len(admitted) < rows:
            first = self._waiting[0]
            unread = _unread(first, admitted[-1] if admitted else None)
            if unread > room:
                return Admission(admitted, first, first.read + room) if room else Admission(admitted)
            room -= unread
            admitted.append(self._waiting.popleft())
        return Admission(admitted)

    def put_back(self, requests: Sequence[_Request], live: int) -> bool:
        """Let requests for which memory ran out wait again, before all others, for a smaller batch.

        Args:
            requests: Those that could not be computed together.
            live: How many rows are live beside them.

        Returns:
            False if memory does not suffice for a single request alone, which is then not put back.
        """
        if not live and len(requests) == self.limit == 1:
            return False
        self.limit = max(1, live or len(requests) // 2)
        self._calm = 0
        self._waiting.extendleft(reversed(requests))
        return True

    def stepped(self) -> None:
        """Count a step that found enough memory."""
        self._calm += 1
        if self._calm >= _CALM and self.limit < _UNLIMITED:
            self.limit, self._calm = self.limit + 1, 0


def _unread(request: Request, neighbour: Request | None) -> int:
    """Tokens to compute for a request after its neighbour; one that has begun is taken to be in memory."""
    if request.begun:
        return 0
    tokens = request.tokens
    shared = shared_length(neighbour.tokens, tokens) if neighbour is not None else 0
    return len(tokens) - max(shared, request.read)
