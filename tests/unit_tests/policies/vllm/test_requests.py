"""What a vLLM server is sent, and how its answers are read."""

import json

import pytest

from langchain_darwin.errors import UnsupportedModelError
from langchain_darwin.policies.base import Sampling
from langchain_darwin.policies.vllm.requests import (
    Piece,
    draft_body,
    forced_body,
    is_done,
    proposal_body,
    read_line,
    request_seed,
)
from langchain_darwin.runtime.http_retries import BrokenAnswer, Refusal

SAMPLING = Sampling(0.7, top_p=0.9, top_k=40, max_tokens=60, min_tokens=50, stop=("END",))
FORM = {
    "prompt": [1, 2, 3],
    "logprobs": 0,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "add_special_tokens": False,
    "stream": True,
    "stream_options": {"include_usage": True},
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": True,
}


def test_a_draft_leaves_nothing_to_the_servers_defaults():
    body = draft_body((1, 2, 3), SAMPLING, tokens=8, written=45, seed=9, end_ids=[2, 7], interval=8)
    assert body == {
        **FORM,
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 9,
        "min_tokens": 5,
        "stop": ["END"],
        "stop_token_ids": [2, 7],
        "stream_interval": 8,
    }


@pytest.mark.parametrize(("written", "least"), [(0, 8), (42, 8), (49, 1), (50, 0), (55, 0)])
def test_min_tokens_counts_from_the_start_of_the_response(written, least):
    body = draft_body((1,), SAMPLING, tokens=8, written=written, seed=0, end_ids=[])
    assert body["min_tokens"] == least


def test_a_forced_token_is_one_of_those_allowed():
    body = forced_body((1, 2, 3), SAMPLING, allowed=(5, 6), seed=1)
    assert (body["allowed_token_ids"], body["max_tokens"], body["min_tokens"], body["stop"]) == ([5, 6], 1, 0, [])
    assert body["temperature"] == 0.7


def test_proposals_ask_for_the_likeliest_or_for_those_named():
    likeliest, named = proposal_body((1,), 5, None), proposal_body((1,), 5, [3, 4])
    assert (likeliest["logprobs"], likeliest.get("logprob_token_ids"), likeliest["temperature"]) == (5, None, 0)
    assert (named["logprobs"], named["logprob_token_ids"]) == (2, [3, 4])


def test_seeds_depend_on_key_and_index_and_fit_the_server():
    seeds = [request_seed(key, index, again=again) for key in (0, 1, -(2**63)) for index in (0, 40) for again in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert request_seed(7, 40) == request_seed(7, 40)


def event(**choice):
    return "data: " + json.dumps({"choices": [{"index": 0, "text": "", "finish_reason": None, **choice}]})


def told(*logprobs, top=None):
    return {"token_logprobs": list(logprobs), "top_logprobs": [top or {}] * len(logprobs)}


def test_lines_are_read():
    lines = [
        event(token_ids=[5, 6], logprobs=told(-0.5, -1.5)),
        event(token_ids=[7], logprobs=told(-2.0, top={"token_id:7": -2.0, "token_id:9": -3.0}), finish_reason="stop"),
        'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}',
        'data: {"choices": [], "usage": {"completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}}',
        "",
        ": keep-alive",
    ]
    assert [read_line(line) for line in lines] == [
        Piece((5, 6), (-0.5, -1.5), {}),
        Piece((7,), (-2.0,), {7: -2.0, 9: -3.0}, ended=True),
        Piece(total=3),
        Piece(total=3, cached=4),
        None,
        None,
    ]
    assert [is_done(line) for line in ("data: [DONE]", lines[0], "")] == [True, False, False]


@pytest.mark.parametrize(
    "line",
    [
        "data: <html>",
        "data: [1, 2]",
        'data: {"object": "text_completion"}',
        event(token_ids=[5, 6], logprobs=told(-0.5)),
        event(token_ids=[5], logprobs=None),
        event(token_ids=[-5], logprobs=told(-0.5)),
        event(token_ids=["x"], logprobs=told(-0.5)),
        event(token_ids=[5], logprobs=told(None)),
        event(token_ids=None, logprobs=told(-0.5)),
        event(token_ids=[5], logprobs=told(-0.5), finish_reason="abort"),
    ],
)
def test_what_was_not_asked_for_is_never_taken(line):
    with pytest.raises(BrokenAnswer, match="no part of a completion"):
        read_line(line)


def test_a_server_that_returns_no_ids_is_told_apart():
    with pytest.raises(UnsupportedModelError, match="return_token_ids"):
        read_line(event(logprobs=told(-0.5)))


def test_an_error_in_the_stream_is_a_refusal():
    with pytest.raises(Refusal, match="answered 500: 'EngineCore died'") as caught:
        read_line('data: {"error": {"message": "EngineCore died", "code": 500}}')
    assert caught.value.passing
