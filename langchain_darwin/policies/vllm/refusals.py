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
from langchain_darwin.policies.vllm.server import Server
from langchain_darwin.runtime.http_retries import Refusal


async def explained(error: Refusal, server: Server, model: str) -> DarwinError:
    """The error for a request that no repetition helps."""
    if error.status in (401, 403):
        msg = f"{server.url} {error}; pass the key that the server was started with as api_key"
        return AuthenticationError(msg)
    if error.status == 404:
        return await _missing(error, server, model)
    return _bad_request(error, server)


def not_served(model: str, models: Sequence[Mapping[str, Any]]) -> ModelNotFound:
    """The error for a model that is not among those that a server lists."""
    names = ", ".join(repr(each.get("id")) for each in models) or "nothing"
    return ModelNotFound(f"model={model!r} is not served there; the server serves {names}")


def unanswered(said: Mapping[str, str]) -> PolicyError:
    """The error after all tries.

    Args:
        said: What each address failed with last.
    """
    each = "; ".join(f"{url} ({what})" for url, what in said.items())
    msg = f"no answer from {each}; is the server up and the address right? See also max_retries and request_timeout"
    return PolicyError(msg)


def joined(errors: Sequence[BaseException]) -> BaseException:
    """One error that says what all of them say, of the class of the first that is more than silence."""
    telling = next((error for error in errors if not isinstance(error, PolicyError)), errors[0])
    return type(telling)("; ".join(dict.fromkeys(map(str, errors))))


async def _missing(error: Refusal, server: Server, model: str) -> DarwinError:
    try:
        models = await server.models()
    except Exception:  # noqa: BLE001  (the first refusal is what is told)
        return ModelNotFound(f"{server.url} {error}; is it the address of a vLLM server, without a path of its API?")
    return not_served(model, models)


def _bad_request(error: Refusal, server: Server) -> DarwinError:
    said = error.said.lower()
    if "context length" in said or "max_model_len" in said:
        msg = f"{server.url} {error}; shorten the messages, or start the server with a larger --max-model-len"
        return ContextOverflowError(msg)
    if "logprobs" in said and "max allowed" in said:
        msg = f"{server.url} {error}; ask for fewer, or start the server with a larger --max-logprobs"
        return ConfigurationError(msg)
    if "vocab" in said:
        msg = f"{server.url} {error}; do the tokenizer and the served model belong together?"
        return ConfigurationError(msg)
    return InvalidRequestError(f"{server.url} {error}")
