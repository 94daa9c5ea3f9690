"""Whoever leaves early frees the embedded model's rows within one decode step; many callers fill its batch."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from contextlib import aclosing, closing, suppress

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.graph import START, MessagesState, StateGraph

from langchain_darwin import BestOfN, ChatDarwin, Darwin
from langchain_darwin.chat.cancellation import CancelScope
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.testing import keyword_reward
from tests.tiny_models import cached_tiny_model

QUESTION = "Tell me a long story."
AT_MOST = 10.0  # seconds that a busy machine may take for one decode step
BEAMS = 3


class Steps:
    """Decode steps that were begun."""

    def __init__(self) -> None:
        self.begun = 0


@pytest.fixture
def steps(monkeypatch):
    counted, step = Steps(), KVSlots.step

    def counting(store, tokens, ids):
        counted.begun += 1
        return step(store, tokens, ids)

    monkeypatch.setattr(KVSlots, "step", counting)
    return counted


@pytest.fixture(autouse=True)
def _control_c_interrupts():
    """As in a shell's foreground: a process started in the background of a script ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def model(embedded_policy):
    """Far from done whenever a test leaves it. No test leaves a thread or a row behind."""
    endless = {"max_tokens": 4000, "min_tokens": 4000}
    chat = ChatDarwin(model=embedded_policy, reward=keyword_reward("sea"), search=BestOfN(n=BEAMS), seed=1, **endless)
    chat.invoke("hi", max_tokens=1, min_tokens=1)  # loads it
    before = set(threading.enumerate())
    yield chat
    assert (embedded_policy.live_rows, embedded_policy.waiting) == (0, 0)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if not name.startswith("asyncio")] == []  # the executor of `to_thread`


def wait_until(done):
    deadline = time.monotonic() + AT_MOST
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


async def under_way(policy):
    """All beams are being decoded."""
    deadline = time.monotonic() + AT_MOST
    while policy.live_rows < BEAMS:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def assert_freed(policy, steps):
    """The rows are free after the step under way, or one that had been decided upon."""
    begun = steps.begun
    wait_until(lambda: not policy.live_rows and not policy.waiting)
    assert steps.begun - begun <= 1


async def test_a_cancelled_task(model, steps):
    task = asyncio.create_task(model.ainvoke(QUESTION))
    await under_way(model.model)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_freed(model.model, steps)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_timeout_around_the_call(model, steps):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await model.ainvoke(QUESTION)
    assert_freed(model.model, steps)


async def test_one_of_several_tasks_fails(model, steps):
    async def fails():
        await under_way(model.model)
        raise LookupError

    async def together():
        async with asyncio.TaskGroup() as group:
            group.create_task(model.ainvoke(QUESTION))
            group.create_task(fails())

    with pytest.raises(ExceptionGroup):
        await together()
    assert_freed(model.model, steps)


def test_a_stream_closed_early(model, steps):
    with closing(model.stream(QUESTION, search=BestOfN(n=1))) as chunks:
        assert next(chunks).text
    assert_freed(model.model, steps)


async def test_an_async_stream_closed_early(model, steps):
    async with aclosing(model.astream(QUESTION, search=BestOfN(n=1))) as chunks:
        assert (await anext(chunks)).text
    assert_freed(model.model, steps)


async def test_an_async_stream_left_by_break(model, steps):
    async for chunk in model.astream(QUESTION, search=BestOfN(n=1)):
        if chunk.text:
            break
    await asyncio.sleep(0)  # the event loop closes what was left
    await asyncio.sleep(0.05)
    assert_freed(model.model, steps)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_an_event_stream_closed_early(model, steps):
    stream = await model.astream_events(QUESTION, version="v3", search=BestOfN(n=1))
    async for _ in stream.text:
        break
    await stream.aclose()
    assert_freed(model.model, steps)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_an_event_stream_dropped(model, steps):
    """A synchronous one cannot be closed, but need not be kept."""
    stream = model.stream_events(QUESTION, version="v3", search=BestOfN(n=1))
    next(iter(stream.text))
    del stream
    gc.collect()
    assert_freed(model.model, steps)


async def test_a_v2_event_stream_left_early(model, steps):
    async with aclosing(model.astream_events(QUESTION, version="v2", search=BestOfN(n=1))) as events:
        async for event in events:
            if event["event"] == "on_chat_model_stream":
                break
    assert_freed(model.model, steps)


async def test_a_graph_left_early(model, steps):
    async def node(state):
        return {"messages": [await model.ainvoke(state["messages"], search=BestOfN(n=1))]}

    app = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model").compile()
    async with aclosing(app.astream({"messages": [("user", QUESTION)]}, stream_mode="messages")) as chunks:
        await anext(chunks)
    assert_freed(model.model, steps)


def test_control_c(model, steps):
    """As if the user pressed it: the exception is raised in the thread that waits for tokens."""

    def interrupt(event):
        if type(event).__name__ == "TokensDrawn":
            raise KeyboardInterrupt

    watched = model.model_copy(update={"on_search_event": interrupt})
    with pytest.raises(KeyboardInterrupt):
        list(watched.stream(QUESTION))
    assert_freed(model.model, steps)


def test_control_c_while_nothing_happens(model, steps):
    def interrupt():
        with suppress(AssertionError):
            wait_until(lambda: model.model.live_rows == BEAMS)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.invoke(QUESTION)
    timer.join()
    assert_freed(model.model, steps)


class FailsOnceAllAreUnderWay(BaseCallbackHandler):
    """Raises as the second input begins, once the first one is being decoded."""

    raise_error = True

    def __init__(self, policy):
        self.policy = policy

    def on_chat_model_start(self, serialized, messages, **kwargs):
        if messages[0][-1].text == "fail":
            wait_until(lambda: self.policy.live_rows == BEAMS)
            raise LookupError


def test_one_of_a_batch_fails(model, steps):
    """The others are cancelled, and `batch` does not wait for their end."""
    with pytest.raises(LookupError):
        model.batch([QUESTION, "fail"], {"callbacks": [FailsOnceAllAreUnderWay(model.model)]})
    assert_freed(model.model, steps)


def test_a_batch_left_early(model, steps):
    answers = model.batch_as_completed(
        [QUESTION, "fail"], {"callbacks": [FailsOnceAllAreUnderWay(model.model)]}, return_exceptions=True
    )
    with closing(answers):
        at, error = next(answers)
        assert (at, type(error)) == (1, LookupError)
    assert_freed(model.model, steps)


def test_control_c_in_a_batch(model, steps):
    def interrupt():
        with suppress(AssertionError):
            wait_until(lambda: model.model.live_rows == 2 * BEAMS)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.batch([QUESTION, QUESTION])
    timer.join()
    assert_freed(model.model, steps)


def test_a_synchronous_graph_left_early_within_a_scope(model, steps):
    """The scope is left first: LangGraph waits for its nodes, and they are done then."""

    def node(state):
        return {"messages": [model.invoke(state["messages"], search=BestOfN(n=1))]}

    app = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model").compile()
    asked = {"messages": [("user", QUESTION)]}
    with closing(app.stream(asked, stream_mode="messages")) as chunks, CancelScope():
        next(chunks)
    assert_freed(model.model, steps)


async def test_the_rest_goes_on_when_one_is_cancelled(model):
    short = {"max_tokens": 8, "min_tokens": 8, "search": BestOfN(n=1)}
    alone = await model.ainvoke("What is a lake?", **short)
    leaving = asyncio.create_task(model.ainvoke(QUESTION))
    await under_way(model.model)
    staying = asyncio.create_task(model.ainvoke("What is a lake?", **short))
    leaving.cancel()
    assert (await staying).text == alone.text
    wait_until(lambda: not model.model.live_rows)


async def test_leaving_while_the_model_is_loading():
    model = ChatDarwin(model=str(cached_tiny_model("gemma3")), reward=keyword_reward("fox"), seed=1, max_tokens=4)
    task = asyncio.create_task(model.ainvoke("hi", search=BestOfN(n=2)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await model.ainvoke("hi", search=BestOfN(n=2))).text


async def test_two_hundred_callers_fill_the_batch():
    """Each has the answer that it has alone, and the decode batch is as wide as it can be."""
    policy = TransformersPolicy(str(cached_tiny_model("llama")), dtype="float32", max_rows=64)
    model = ChatDarwin(
        model=policy, reward=keyword_reward("fox"), search=BestOfN(n=1), seed=1, max_tokens=12, min_tokens=12
    )
    questions = [f"ProposalRequest {i}" for i in range(200)]
    alone = [(await model.ainvoke(question)).text for question in questions[:3]]
    widest = 0

    async def watch():
        nonlocal widest
        while True:
            widest = max(widest, policy.live_rows)
            await asyncio.sleep(0.0005)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(*map(model.ainvoke, questions))
    watching.cancel()
    assert [answer.text for answer in answers[:3]] == alone
    assert len({answer.text for answer in answers}) > 150  # random weights: different questions, different answers
    assert widest == policy.max_rows
    assert (policy.live_rows, policy.waiting) == (0, 0)


async def test_the_event_loop_is_never_blocked():
    """Not even by the first call, which loads the model."""
    model = ChatDarwin(
        model=str(cached_tiny_model("qwen3")),
        reward=keyword_reward("fox"),
        search=Darwin(beams=2, keep=1, period=4),
        seed=1,
        max_tokens=8,
    )
    with blockbuster_ctx("langchain_darwin"):
        answers = await model.abatch(["hi", "ho"])
        answer = await model.ainvoke("hi")
        streamed = [chunk.text async for chunk in model.astream("hi")]
    assert {answers[0].text, "".join(streamed)} == {answer.text}
