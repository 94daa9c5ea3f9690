"""Errors for requests that a server refuses or does not answer; each names the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_darwin.errors import (
    AuthenticationError,
    ConfigurationError,
    ContextOverflowError,
    DarwinError,
    InvalidRequestError,
    ModelNotFound,
    PolicyError,
)
from langchain_darwin.policies.vllm.backend import Backend
from langchain_darwin.runtime.http_retries import Refusal


async def explained(error: Refusal, server: Backend, model: str) -> DarwinError:
    """The error for a request that no repetition helps."""
    if error.status in (401, 403):
        msg = f"{server.url} {error}; pass the key that the server was started with as api_key"
        return AuthenticationError(msg)
    if error.status == 404:
        return await _missing(error, server, model)
    return bad_request(error.said, f"{server.url} {error}")


def not_served(model: str, models: Sequence[Mapping[str, Any]]) -> ModelNotFound:
    """The error for a model that is not among those that a server lists."""
    names = ", ".join(repr(each.get("id")) for each in models) or "nothing"
    return ModelNotFound(f"model={model!r} is not served there; the server serves {names}")


def unanswered(said: Mapping[str, str], remedy: str) -> PolicyError:
    """The error after all tries.

    Args:
        said: What each address failed with last.
        remedy: The way out.
    """
    each = "; ".join(f"{url} ({what})" for url, what in said.items())
    return PolicyError(f"no answer from {each}; {remedy}")


def joined(errors: Sequence[BaseException]) -> BaseException:
    """One error that says what all of them say, of the class of the first that is more than silence."""
    telling = next((error for error in errors if not isinstance(error, PolicyError)), errors[0])
    return type(telling)("; ".join(dict.fromkeys(map(str, errors))))


async def _missing(error: Refusal, server: Backend, model: str) -> DarwinError:
    try:
        models = await server.models()
    except Exception:  # noqa: BLE001  (the first refusal is what is told)
        return ModelNotFound(f"{server.url} {error}; is it the address of a vLLM server, without a path of its API?")
    return not_served(model, models)


def bad_request(said: str, told: str) -> DarwinError:
    """The error for a request that is refused as it is.

    Args:
        said: What was answered, from which the kind of error is read.
        told: The message, to which the way out is added.
    """
    lower = said.lower()
    if "context length" in lower or "max_model_len" in lower:
        return ContextOverflowError(f"{told}; shorten the messages, or start vLLM with a larger --max-model-len")
    if "logprobs" in lower and "max allowed" in lower:
        return ConfigurationError(f"{told}; ask for fewer, or start vLLM with a larger --max-logprobs")
    if "vocab" in lower:
        return ConfigurationError(f"{told}; do the tokenizer and the served model belong together?")
    return InvalidRequestError(told)
