"""Searches on a real vLLM server that is killed, slow, overrun or not understood.

Each ends with the answer of the undisturbed search, or with an error that names the address and carries what was
found. The server computes in float32, so that equal seeds mean equal answers. Most connections go through a peer in
front of it, whose breaks are real ones: closed listeners and reset sockets. A start of the server takes most of a
minute, so it is itself killed (SIGKILL) only twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from langchain_darwin import BestOfN, ChatDarwin, Darwin, VLLMPolicy
from langchain_darwin.chat.cancellation import CancelScope
from langchain_darwin.errors import DarwinError, PolicyError
from langchain_darwin.policies.vllm import connection as vllm_connection
from langchain_darwin.search.base import Scored
from tests.faulty_peer import Answered, Cut, Delayed, faulty_peer
from tests.leaks import nothing_left
from tests.vllm_server import NAME

QUESTION = "Name three rivers and say where they are."
SEARCH = Darwin(beams=2, keep=1, period=8, mutation="none")
PERIODS = 3
BROKEN_BY_A_PEER, KILLED = 18, 2


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """Between two tries of a request."""
    monkeypatch.setattr("langchain_darwin.policies.vllm.replicas._LONGEST_WAIT", 0.3)


def different_words(messages, responses):
    return [len(set(response.text.split())) for response in responses]


def chat(urls, *, request_timeout=20.0, max_retries=200, max_concurrency=64, **settings):
    policy = VLLMPolicy(
        urls,
        NAME,
        block=8,
        request_timeout=request_timeout,
        max_retries=max_retries,
        max_concurrency=max_concurrency,
    )
    usual = {"reward": different_words, "search": SEARCH, "max_tokens": 8 * PERIODS, "seed": 5}
    return ChatDarwin(model=policy, **{**usual, **settings})


@dataclass(frozen=True)
class Answer:
    text: str
    reward: float


def answer(message):
    return Answer(message.text, message.response_metadata["darwin"]["reward"])


def streamed(model):
    """The answer, by the stream: tokens are then taken as they come, not request by request."""
    return "".join(chunk.text for chunk in model.stream(QUESTION))


@pytest.fixture(scope="module")
def server(vllm_float32):
    return vllm_float32


@pytest.fixture(scope="module")
def undisturbed(server):
    """The answer without faults."""
    return answer(chat(server.base_url).invoke(QUESTION))


@contextlib.contextmanager
def nothing_kept(server):
    """The block leaves no thread, no socket and no request, once the process's idle connections are let go."""
    with nothing_left(server.running):
        yield
        vllm_connection._shared.get()._latest = None


@pytest.fixture(scope="module")
def seconds(server, undisturbed):
    """What the undisturbed search takes when its prompt has been read before."""
    began = time.monotonic()
    chat(server.base_url).invoke(QUESTION)
    return time.monotonic() - began


@contextlib.contextmanager
def later(seconds, act):
    """Do something in another thread, `seconds` from now."""
    timer = threading.Timer(seconds, act)
    timer.start()
    yield
    timer.join()


def test_connections_broken_at_a_random_moment_cost_nothing_but_time(server, undisturbed, seconds, tried):
    moments = random.Random(7)
    with nothing_kept(server), faulty_peer(server.base_url) as peer:

        def break_and_mend():
            peer.down()
            time.sleep(0.3)
            peer.up()

        model = chat(peer.base_url)
        for attempt in range(BROKEN_BY_A_PEER):
            with later(moments.uniform(0, seconds), break_and_mend):
                if attempt % 2:
                    assert streamed(model) == undisturbed.text
                else:
                    assert answer(model.invoke(QUESTION)) == undisturbed
            tried["all connections reset at a random moment of a search, refused, accepted again"] += 1


def test_a_server_killed_and_restarted_at_a_random_moment_costs_nothing_but_time(server, undisturbed, seconds, tried):
    moments = random.Random(11)
    for _ in range(KILLED):
        with nothing_kept(server), later(moments.uniform(0.2, seconds), server.restart):
            assert answer(chat(server.base_url, max_retries=2000).invoke(QUESTION)) == undisturbed
        tried["server killed (SIGKILL) at a random moment of a search and restarted"] += 1


def event(tokens, logprobs, reason='"length"'):
    choice = f'{{"token_ids": {tokens}, "logprobs": {{"token_logprobs": {logprobs}}}, "finish_reason": {reason}}}'
    return f'data: {{"choices": [{choice}]}}\n\ndata: [DONE]\n\n'.encode()


PASSING = {
    "429 with Retry-After": Answered(429, b"too many", {"Retry-After": "0.2"}),
    "503": Answered(503, b"restarting"),
    "garbage": Answered(),
    "an end without a beginning": Answered(body=b"data: [DONE]\n\n"),
    "more tokens than asked for": Answered(body=event([5] * 99, [-1.0] * 99)),
    "fewer log-probabilities than tokens": Answered(body=event([5, 5], [-1.0])),
    "fewer tokens than said": Answered(body=event([5], [-1.0], "null")),
    "closed in mid-answer": Cut(after=150),
    "reset in mid-answer": Cut(after=150, reset=True),
    "slow": Delayed(30),
}


@pytest.mark.parametrize("what", PASSING)
def test_faults_that_pass_cost_nothing_but_time(server, undisturbed, tried, what):
    with nothing_kept(server), faulty_peer(server.base_url) as peer:
        model = chat(peer.base_url, request_timeout=3.0 if what == "slow" else 20.0)
        peer.faults.extend([PASSING[what]] * 3)
        assert answer(model.invoke(QUESTION)) == undisturbed
        assert not peer.faults
        tried[f"{what}, then well"] += 3


@dataclass(frozen=True)
class Failure:
    """An error without its frames, which would hold on to the policy."""

    kind: type[DarwinError]
    text: str
    best: Any
    records: int


def failure(model):
    with pytest.raises(DarwinError) as caught:
        model.invoke(QUESTION)
    return Failure(caught.type, str(caught.value), caught.value.best, len(caught.value.trace))


@pytest.mark.parametrize("what", ["refused", *PASSING])
def test_faults_that_last_are_errors_that_name_the_address_and_lose_nothing(server, tried, what):
    with nothing_kept(server), faulty_peer(server.base_url) as peer:

        def fail(event):
            if isinstance(event, Scored) and what == "refused":
                peer.down()
            elif isinstance(event, Scored):
                peer.always = PASSING[what]  # type: ignore[assignment]

        failed = failure(chat(peer.base_url, max_retries=1, request_timeout=3.0, on_search_event=fail))
        assert (failed.kind, peer.base_url in failed.text) == (PolicyError, True)
        assert (bool(failed.best.text), failed.records > 2) == (True, True)
        tried[f"{what}, for good"] += 1


def test_a_lost_replica_of_two_is_done_without(server, undisturbed, tried):
    """Both replicas are peers in front of one server."""
    with nothing_kept(server), faulty_peer(server.base_url) as one, faulty_peer(server.base_url) as two:
        model = chat([one.base_url, two.base_url], max_retries=5)
        assert answer(model.invoke(QUESTION)) == undisturbed
        home, other = sorted((one, two), key=lambda peer: -len(peer.asked))
        assert (set(home.asked), other.asked) == ({"/v1/models", "/v1/completions"}, ["/v1/models"])
        lost = []

        def lose(event):
            if isinstance(event, Scored) and not lost:
                home.down()
                lost.append(home)

        again = chat([one.base_url, two.base_url], max_retries=5, on_search_event=lose)
        assert answer(again.invoke(QUESTION)) == undisturbed
        assert len(other.asked) > 1
        tried["one replica of two lost in mid-search"] += 1
        other.down()
        failed = failure(chat([one.base_url, two.base_url], max_retries=1))
        assert (one.base_url in failed.text, two.base_url in failed.text) == (True, True)
        tried["both replicas lost"] += 1


async def test_a_hundred_searches_at_once_queue_here_and_outlast_faults(server, tried):
    short = {"search": BestOfN(2), "max_tokens": 8}
    seeds = [count % 5 for count in range(100)]
    with nothing_kept(server), faulty_peer(server.base_url) as peer:
        alone = [answer(await chat(server.base_url, **short).ainvoke(QUESTION, seed=seed)) for seed in range(5)]
        model = chat(peer.base_url, max_concurrency=16, request_timeout=60.0, **short)
        peer.faults.extend([Answered(503), Cut(after=150), Cut(after=150, reset=True), Answered()] * 5)
        found = await asyncio.gather(*(model.ainvoke(QUESTION, seed=seed) for seed in seeds))
        assert [answer(message) for message in found] == [alone[seed] for seed in seeds]
        assert not peer.faults
        assert peer.most <= 32  # 16, and those that the peer has not closed yet
        tried["searches at once, with 20 faults among their requests"] += 100
        del model


LONG = {"max_tokens": 1500, "min_tokens": 1500, "search": BestOfN(3)}


async def cancelled_task(model, under_way):
    asking = asyncio.create_task(model.ainvoke(QUESTION))
    await asyncio.to_thread(under_way)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def closed_stream(model, under_way):
    stream = model.astream(QUESTION)
    asking = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(under_way)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await stream.aclose()


async def cancelled_scope(model, under_way):
    def ask():
        with contextlib.suppress(DarwinError), CancelScope() as scope:
            scopes.append(scope)
            model.invoke(QUESTION)

    scopes: list[CancelScope] = []
    thread = threading.Thread(target=ask)
    thread.start()
    await asyncio.to_thread(under_way)
    scopes[0].cancel()
    thread.join()


async def timeout(model, under_way):
    message = await asyncio.to_thread(model.invoke, QUESTION, timeout=2.0)
    assert message.text


@pytest.mark.parametrize("leave", [cancelled_task, closed_stream, cancelled_scope, timeout])
async def test_a_client_that_leaves_early_ends_its_requests(server, undisturbed, tried, leave):
    def under_way():
        ends = time.monotonic() + 20
        while server.running() < 3:
            assert time.monotonic() < ends
            time.sleep(0.02)

    with nothing_kept(server):
        await leave(chat(server.base_url, **LONG), under_way)
    tried[f"client left: {leave.__name__.replace('_', ' ')}"] += 1
