"""Requests to a vLLM server's completions endpoint, and its answers. Pure: no input or output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_darwin.errors import UnsupportedModelError
from langchain_darwin.policies.base import Sampling
from langchain_darwin.runtime.http_retries import BrokenAnswer, Refusal

Body = dict[str, Any]

_ID_MARK = "token_id:"  # how the server names tokens that are not written as text
_PLAIN: Mapping[str, Any] = {  # a server takes what is not said from the model's generation config
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
_FORM: Mapping[str, Any] = {
    "logprobs": 0,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "add_special_tokens": False,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer.

    Attributes:
        tokens: Token ids.
        logprobs: Of each token, natural log, under the model itself.
        candidates: Log-probabilities by token id, for the first token of the piece, if they were asked for.
        ended: Whether the server says that this is the end of the text.
        total: Tokens of the whole answer, in its last piece.
        cached: Prompt tokens that the server found in its cache, in the last piece; None where it does not say.
    """

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    candidates: Mapping[int, float] | None = None
    ended: bool = False
    total: int | None = None
    cached: int | None = None


def draft_body(
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    tokens: int,
    written: int,
    seed: int,
    end_ids: Sequence[int],
    interval: int = 1,
) -> Body:
    """A request for the next `tokens` tokens of a text.

    Args:
        prompt: Token ids of prompt and response so far.
        sampling: How tokens are drawn.
        tokens: Most tokens to draw, at least 1.
        written: Tokens of the response so far.
        seed: Of the server's random stream for this request.
        end_ids: Token ids that end a response, and the only ones that do.
        interval: Tokens after which the server sends what it has.
    """
    return {
        **_FORM,
        **_PLAIN,
        "prompt": list(prompt),
        "max_tokens": tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": seed,
        "min_tokens": min(tokens, max(0, sampling.min_tokens - written)),
        "stop": list(sampling.stop),
        "stop_token_ids": list(end_ids),
        "ignore_eos": True,
        "stream_interval": max(1, interval),
    }


def forced_body(prompt: Sequence[int], sampling: Sampling, *, allowed: Sequence[int], seed: int) -> Body:
    """A request for one token, of those that are allowed."""
    body = draft_body(prompt, sampling, tokens=1, written=0, seed=seed, end_ids=())
    return {**body, "min_tokens": 0, "stop": [], "allowed_token_ids": list(allowed)}


def proposal_body(prompt: Sequence[int], k: int, among: Sequence[int] | None) -> Body:
    """A request for the log-probabilities of the `k` likeliest next tokens, or of `among`."""
    body = draft_body(prompt, Sampling(temperature=0, top_k=0), tokens=1, written=0, seed=0, end_ids=())
    listed = {} if among is None else {"logprob_token_ids": list(among)}
    return {**body, "logprobs": k if among is None else len(among), **listed}


def request_seed(key: int, index: int, *, again: bool = False) -> int:
    """A seed in [0, 2**63) for the request that begins at token `index` of a response.

    Args:
        key: Of the text's random stream.
        index: Of the request's first token in the response.
        again: Whether that token is drawn a second time, since a grammar refused the first.
    """
    digest = hashlib.blake2b(f"{key}/{index}/{again:d}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def read_line(line: str) -> Piece | None:
    """Read a line of a stream of server-sent events; None for lines that say nothing.

    Raises:
        Refusal: The server says that it failed.
        BrokenAnswer: The line is not what was asked for.
        UnsupportedModelError: The server does not return token ids.
    """
    if not line.startswith("data:"):
        return None
    try:
        event = json.loads(line[5:])
        return _read_event(event)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        msg = f"said {line[:200]!r}, which is no part of a completion ({type(error).__name__}: {error})"
        raise BrokenAnswer(msg) from error


def is_done(line: str) -> bool:
    """Return True if a line ends a stream of server-sent events."""
    return line.startswith("data:") and line[5:].strip() == "[DONE]"


def _read_event(event: Mapping[str, Any]) -> Piece | None:
    if error := event.get("error"):
        raise Refusal(int(error.get("code") or 500), str(error.get("message")))
    if event["choices"]:
        return _read_choice(event["choices"][0])
    if event.get("usage"):
        return _read_usage(event["usage"])
    return None


def _read_choice(choice: Mapping[str, Any]) -> Piece:
    if "token_ids" not in choice:
        msg = (
            "the server's answer has no `token_ids`; it must be a vLLM server that knows `return_token_ids`, as "
            "0.32 does, or a proxy between must let it through"
        )
        raise UnsupportedModelError(msg)
    tokens = tuple(map(int, choice["token_ids"]))
    told = choice.get("logprobs") or {"token_logprobs": [], "top_logprobs": []}
    logprobs = tuple(map(float, told["token_logprobs"]))
    if len(tokens) != len(logprobs) or any(token < 0 for token in tokens):
        msg = f"{len(tokens)} token ids and {len(logprobs)} log-probabilities"
        raise ValueError(msg)
    reason = choice.get("finish_reason")
    if reason not in (None, "stop", "length"):
        msg = f"the server ended the text with {reason!r}"
        raise ValueError(msg)
    listed = told.get("top_logprobs") or [None]
    return Piece(tokens, logprobs, _by_id(listed[0] or {}), ended=reason is not None)


def _by_id(listed: Mapping[str, float]) -> dict[int, float]:
    return {int(name.removeprefix(_ID_MARK)): float(value) for name, value in listed.items()}


def _read_usage(usage: Mapping[str, Any]) -> Piece:
    details = usage.get("prompt_tokens_details") or {}
    return Piece(total=int(usage["completion_tokens"]), cached=details.get("cached_tokens"))
