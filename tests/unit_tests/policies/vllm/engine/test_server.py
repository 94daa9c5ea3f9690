"""The engine as a backend. Its `AsyncLLM` is a stand-in here; the real one runs in integration_tests."""

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from langchain_darwin.errors import (
    ConfigurationError,
    ContextOverflowError,
    InvalidRequestError,
    PolicyError,
)
from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.sequences import Submission, open_sequence
from langchain_darwin.policies.vllm.drafting import RemoteSequence, Service, Spent
from langchain_darwin.policies.vllm.engine.server import EngineServer
from langchain_darwin.policies.vllm.prefetched import PrefetchedTokens
from langchain_darwin.policies.vllm.replicas import Replicas
from langchain_darwin.policies.vllm.requests import draft_body
from tests.vllm_engine import CODEC, WORDS, AsyncLLM, VLLMValidationError, engine

PROMPT = (256, 257)
SAMPLING = Sampling(1.0, max_tokens=20)


class Starts:
    """Starts the engines it is given, one after the other."""

    def __init__(self, *llms, seconds=0.0):
        self.left, self.seconds, self.started, self.closed = list(llms), seconds, [], []

    def __call__(self):
        time.sleep(self.seconds)
        llm = self.left.pop(0)
        if isinstance(llm, Exception):
            raise llm
        self.started.append(llm)
        return engine(llm, self.closed)


def body(tokens=8, seed=5):
    return draft_body(PROMPT, SAMPLING, tokens=tokens, written=0, seed=seed, end_ids=())


async def pieces(server, *, at_once, wanted=100, **request):
    found = []
    await server.complete(body(**request), lambda piece: found.append(piece) or len(found) < wanted, at_once=at_once)
    return found


async def grow(server, tokens=None, written=(), *, block=8, spent=None, key=3, memory=None):
    """What the shared drafting makes of the engine, as for a server."""
    replicas = Replicas([server], server.name, 1)
    [facts] = await replicas.served()
    blocks = None if facts["draws_by_position"] else block
    service = Service(replicas, CODEC, blocks, PrefetchedTokens() if memory is None else memory, spent or Spent())
    job = Job(PROMPT + tuple(written), len(PROMPT), SAMPLING, key, tokens)
    text = open_sequence(job, 0, Submission(Future(), None), facts["max_model_len"], CODEC, None)
    await RemoteSequence(text, service, None).run()
    return text.growth()


async def test_it_says_what_it_serves():
    server = EngineServer("name", Starts(AsyncLLM(by_position=True)))
    facts = {"id": "name", "root": "org/name", "max_model_len": 1000, "draws_by_position": True}
    assert await server.models() == [facts]


async def test_tokens_come_one_by_one_or_all_at_the_end():
    server = EngineServer("name", Starts(AsyncLLM()))
    one_by_one, [whole] = await pieces(server, at_once=True), await pieces(server, at_once=False)
    assert [len(piece.tokens) for piece in one_by_one] == [1] * 8
    assert sum((piece.tokens for piece in one_by_one), ()) == whole.tokens
    assert [piece.ended for piece in one_by_one] == [False] * 7 + [True]
    assert (whole.ended, whole.cached, whole.logprobs) == (True, 4, (-0.5,) * 8)


async def test_a_request_that_is_not_wanted_any_more_is_aborted():
    starts = Starts(AsyncLLM())
    server = EngineServer("name", starts)
    assert len(await pieces(server, at_once=True, wanted=3)) == 3
    assert (starts.started[0].unfinished, server.asking) == (set(), 0)


async def test_a_cancelled_request_is_aborted():
    starts = Starts(AsyncLLM())
    server = EngineServer("name", starts)
    await server.models()
    task = asyncio.create_task(pieces(server, at_once=True, tokens=10_000))
    await asyncio.wait_for(starts.started[0].begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (starts.started[0].unfinished, server.asking) == (set(), 0)


@pytest.mark.parametrize("dies_after", [0, 1, 7, 8, 12, 19])
@pytest.mark.parametrize("silently", [False, True])
async def test_a_dead_engine_is_started_again_and_the_text_goes_on(dies_after, silently, monkeypatch):
    monkeypatch.setattr("langchain_darwin.policies.vllm.engine.server._WATCH_SECONDS", 0.01)
    whole = await grow(EngineServer("name", Starts(AsyncLLM())))
    starts = Starts(AsyncLLM(dies_after=dies_after, silently=silently), AsyncLLM())
    growth = await grow(EngineServer("name", starts))
    assert (growth.tokens, growth.finish) == (whole.tokens, "length")
    assert [len(starts.started), starts.closed] == [2, starts.started[:1]]


async def test_a_request_that_two_engines_die_of_is_an_error_that_names_the_engine():
    starts = Starts(AsyncLLM(dies_after=3), AsyncLLM(dies_after=3), AsyncLLM())
    with pytest.raises(PolicyError, match=r"no answer from vLLM's engine for 'name' .*EngineCore encountered an issue"):
        await grow(EngineServer("name", starts))
    assert len(starts.started) == 2


async def test_requests_that_one_death_hits_share_the_new_engine():
    starts = Starts(AsyncLLM(dies_after=20), AsyncLLM(), seconds=0.05)
    server = EngineServer("name", starts)
    texts = await asyncio.gather(*(grow(server, key=key) for key in range(5)))
    alone = [(await grow(EngineServer("name", Starts(AsyncLLM())), key=key)).tokens for key in range(5)]
    assert [text.tokens for text in texts] == alone
    assert len(starts.started) == 2


async def test_a_start_that_fails_is_tried_again_by_the_next_request():
    starts = Starts(ConfigurationError("too little memory"), AsyncLLM())
    server = EngineServer("name", starts)
    with pytest.raises(ConfigurationError, match="too little memory"):
        await pieces(server, at_once=False)
    assert len(await pieces(server, at_once=False)) == 1


async def test_leaving_before_it_has_started_does_not_end_the_start():
    starts = Starts(AsyncLLM(), seconds=0.1)
    server = EngineServer("name", starts)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.models(), 0.02)
    assert len(await pieces(server, at_once=False)) == 1
    assert len(starts.started) == 1


async def test_closing_ends_it_and_another_request_starts_another():
    starts = Starts(AsyncLLM(), AsyncLLM())
    server = EngineServer("name", starts)
    await server.aclose()
    await server.models()
    await server.aclose()
    assert starts.closed == starts.started
    assert len(await pieces(server, at_once=False)) == 1
    assert len(starts.started) == 2


async def test_the_interpreter_does_not_wait_for_a_start():
    server = EngineServer("name", Starts(AsyncLLM(), seconds=0.2))
    task = asyncio.create_task(server.models())
    await asyncio.sleep(0.05)
    [thread] = [each for each in threading.enumerate() if each.name == "langchain-darwin-engine"]
    assert thread.daemon
    await task


REFUSALS = [
    (VLLMValidationError("top_p must be in (0, 1], got 3"), InvalidRequestError, "top_p must be"),
    (VLLMValidationError("maximum context length is 2048 tokens"), ContextOverflowError, "shorten the messages"),
    (VLLMValidationError("sample logprobs of 500, max allowed: 128"), ConfigurationError, "ask for fewer"),
    (VLLMValidationError("Token id 99999 is out of vocabulary"), ConfigurationError, "belong together"),
    (ValueError("temperature must be a number"), InvalidRequestError, "temperature"),
    (RuntimeError("CUDA error"), PolicyError, "RuntimeError: CUDA error"),
]


@pytest.mark.parametrize(("error", "kind", "said"), REFUSALS, ids=lambda value: repr(value)[:30])
async def test_what_the_engine_refuses_is_one_of_our_errors(error, kind, said):
    server = EngineServer("name", Starts(AsyncLLM(refuses=error)))
    with pytest.raises(kind, match=said.replace("(", r"\(")) as caught:
        await pieces(server, at_once=True)
    assert (type(caught.value), "vLLM's engine for 'name'" in str(caught.value)) == (kind, True)


@pytest.mark.parametrize("steps", [(1,), (7,), (8, 8), (3, 3, 3)])
@pytest.mark.parametrize("by_position", [False, True])
async def test_however_it_is_cut_the_text_is_the_same(steps, by_position):
    server = EngineServer("name", Starts(AsyncLLM(by_position=by_position)))
    whole = (await grow(server)).tokens
    written, memory = (), PrefetchedTokens()
    for tokens in [*steps, None]:
        written += (await grow(server, tokens, written, memory=memory)).tokens
    assert written == whole
    assert set(whole) <= set(WORDS)


async def test_an_engine_that_draws_by_position_draws_nothing_in_advance():
    starts, spent = Starts(AsyncLLM(by_position=True)), Spent()
    server = EngineServer("name", starts)
    first = await grow(server, 5, spent=spent)
    await grow(server, None, first.tokens, spent=spent)
    assert starts.started[0].asked == [(2, 5), (7, 15)]
    assert spent == Spent(requests=2, drawn=20, taken=20)
