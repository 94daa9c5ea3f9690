"""Requests to the engine and its answers."""

from types import SimpleNamespace

import pytest

from langchain_darwin.policies.base import Sampling
from langchain_darwin.policies.vllm.engine.requests import read_output, sampling_arguments
from langchain_darwin.policies.vllm.requests import Piece, draft_body, forced_body, proposal_body
from langchain_darwin.runtime.http_retries import BrokenAnswer

SAMPLING = Sampling(0.5, top_p=0.9, top_k=7, max_tokens=50, min_tokens=4)
PLAIN = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


def draft(**changes):
    return draft_body((1, 2), Sampling(**{**vars_of(SAMPLING), **changes}), tokens=8, written=1, seed=9, end_ids=[0])


def vars_of(sampling):
    return {name: getattr(sampling, name) for name in ("temperature", "top_p", "top_k", "max_tokens", "min_tokens")}


def test_a_draft_is_asked_for_with_all_that_matters():
    drawn = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "seed": 9, "max_tokens": 8, "min_tokens": 3, "logprobs": 0}
    ends = {"stop": [], "stop_token_ids": [0], "ignore_eos": True, "stream_interval": 1, "detokenize": False}
    assert sampling_arguments(draft()) == {**PLAIN, **drawn, **ends}


def test_text_is_made_for_stop_strings_alone():
    assert sampling_arguments(draft(stop=("\n",)))["detokenize"] is True


def test_forced_tokens_and_proposals_name_their_tokens():
    forced = sampling_arguments(forced_body((1,), SAMPLING, allowed=(5, 6), seed=3))
    assert (forced["allowed_token_ids"], forced["max_tokens"]) == ([5, 6], 1)
    among = sampling_arguments(proposal_body((1,), 1, (5, 6)))
    assert (among["logprob_token_ids"], among["logprobs"]) == ([5, 6], 2)


def output(tokens, listed, reason=None):
    logprobs = [{token: SimpleNamespace(logprob=value) for token, value in each.items()} for each in listed]
    completion = SimpleNamespace(token_ids=tokens, logprobs=logprobs or None, finish_reason=reason)
    return SimpleNamespace(outputs=[completion], num_cached_tokens=16)


def test_an_answer_is_read():
    said = output([5, 6], [{5: -1.0, 7: -2.0}, {6: -3.0}], "length")
    assert read_output(said) == Piece((5, 6), (-1.0, -3.0), {5: -1.0, 7: -2.0}, ended=True, cached=16)


@pytest.mark.parametrize(
    "said", [output([5], [{5: -1.0}], "abort"), output([5], [{5: -1.0}], "error"), output([5, 6], [{5: -1.0}])]
)
def test_answers_that_are_none_are_asked_for_again(said):
    with pytest.raises(BrokenAnswer):
        read_output(said)
