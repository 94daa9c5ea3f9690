"""Every error of the package: one root, each also a subclass of the standard exception it specialises.

A message names the thing, the value and the way out. An error raised during a search carries `best`, the best
answer so far or None, and `trace`, the records so far.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from langchain_core import exceptions as lc


class DarwinError(Exception):
    """Root of all errors raised by langchain_darwin.

    Attributes:
        best: The best answer found before the error, as an `AIMessage`, or None.
        trace: The records of the search until the error (JSON-able dicts), empty outside a search.
        is_retryable: Whether the same call may succeed if it is repeated, as in LangChain's own errors.
    """

    best: Any = None
    trace: list[dict[str, Any]] | tuple[()] = ()
    is_retryable: bool = False


class ConfigurationError(DarwinError, ValueError):
    """An argument is outside its range; the message says which, what it was and what is allowed."""


class InvalidRequestError(DarwinError, lc.ModelInvalidRequestError, ValueError):
    """The messages or call arguments cannot be served by this model (for example image content)."""


class ContextOverflowError(DarwinError, lc.ContextOverflowError, ValueError):
    """The prompt leaves no room for an answer in the model's context."""


class ModelNotFound(DarwinError, lc.ModelNotFoundError, FileNotFoundError):
    """No model could be found under the given id or folder; the message says what to install or pass."""


class UnsupportedModelError(DarwinError, NotImplementedError):
    """The model was found but cannot be driven (encoder-decoder, no chat template, no cache, ...)."""


class PolicyError(DarwinError, lc.ModelAPIError, RuntimeError):
    """The policy failed while decoding; its cause is chained."""

    is_retryable = True


class AuthenticationError(DarwinError, lc.ModelAuthenticationError, PermissionError):
    """A server wants another key than it was sent; the message names the address and the setting."""


class SearchTimeoutError(DarwinError, lc.ModelTimeoutError, TimeoutError):
    """The time ran out before a single token could be returned."""

    is_retryable = True


class SearchCancelledError(DarwinError, CancelledError):
    """A search was ended from outside: by a `CancelScope`, or with the batch that it was part of."""


class RewardError(DarwinError, RuntimeError):
    """A reward raised, or returned something that is not one finite number per response.

    Attributes:
        reward: The name of the reward that failed.
    """

    is_retryable = True

    def __init__(self, message: str, *, reward: str = "") -> None:
        super().__init__(message)
        self.reward = reward


class RewardTimeoutError(RewardError, TimeoutError):
    """A reward did not answer within its timeout."""


class MissingDependencyError(DarwinError, ImportError):
    """An optional package is needed for what was asked; the message says which extra installs it."""


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says, or its class if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "ContextOverflowError",
    "DarwinError",
    "InvalidRequestError",
    "MissingDependencyError",
    "ModelNotFound",
    "PolicyError",
    "RewardError",
    "RewardTimeoutError",
    "SearchCancelledError",
    "SearchTimeoutError",
    "UnsupportedModelError",
]
