"""The protocol between drafting and what computes: a server over HTTP, or an engine in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from langchain_darwin.policies.vllm.requests import Body, Piece

Take = Callable[[Piece], bool]
"""Called with each piece of an answer; returns True if more is wanted. If not, the request is ended."""


class Backend(Protocol):
    """A place where a model computes. All of it runs on one event loop.

    Attributes:
        url: The address, or a name for messages.
        remedy: The way out if it does not answer, for messages.
        asking: Requests under way or waiting for their turn.
        failures: Failures since the last success.
        down_until: Time, as of the event loop, before which others are asked if there are any.
    """

    url: str
    remedy: str
    asking: int
    failures: int
    down_until: float

    async def models(self) -> list[dict[str, Any]]:
        """Return `id`, `root` and `max_model_len` of each model, and `draws_by_position` if that is so."""
        ...

    async def complete(self, body: Body, take: Take, *, at_once: bool) -> None:
        """Ask for a completion and pass its pieces on; with `at_once` as they come, else once it is whole."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; it is made again if it is asked again."""
        ...
