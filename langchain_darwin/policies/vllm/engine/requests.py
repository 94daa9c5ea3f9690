"""Requests to vLLM's engine, and its answers, in the words of the completions endpoint. Pure: no input or output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_darwin.policies.vllm.requests import Body, Piece
from langchain_darwin.runtime.http_retries import BrokenAnswer

_SAMPLING = (
    *("max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "stop_token_ids"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty", "ignore_eos", "stream_interval"),
    *("logprobs", "logprob_token_ids", "allowed_token_ids"),
)


def sampling_arguments(body: Body) -> dict[str, Any]:
    """Return the arguments of vLLM's `SamplingParams` for a request; text is made only where stop strings need it."""
    return {name: body[name] for name in _SAMPLING if name in body} | {"detokenize": bool(body["stop"])}


def read_output(output: Any) -> Piece:
    """Return what a `RequestOutput` of one completion says.

    Raises:
        BrokenAnswer: The engine ended the text by itself, or left out log-probabilities.
    """
    [completion] = output.outputs
    if completion.finish_reason not in (None, "stop", "length"):
        msg = f"ended the text with {completion.finish_reason!r}"
        raise BrokenAnswer(msg)
    tokens = tuple(map(int, completion.token_ids))
    listed: list[Mapping[int, Any]] = list(completion.logprobs or ())
    if len(listed) != len(tokens):
        msg = f"gave {len(tokens)} token ids and {len(listed)} log-probabilities"
        raise BrokenAnswer(msg)
    logprobs = tuple(float(each[token].logprob) for token, each in zip(tokens, listed, strict=True))
    candidates = {int(token): float(each.logprob) for token, each in listed[0].items()} if listed else None
    ended = completion.finish_reason is not None
    return Piece(tokens, logprobs, candidates, ended=ended, cached=output.num_cached_tokens)
