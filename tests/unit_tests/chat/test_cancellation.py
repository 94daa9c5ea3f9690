"""Searches ended from outside: scopes, batches, callbacks that raise. The policy never answers by itself."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, closing
from contextvars import copy_context

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.graph import START, MessagesState, StateGraph

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.chat.cancellation import CancelScope
from langchain_darwin.errors import ContextOverflowError, DarwinError, SearchCancelledError
from langchain_darwin.policies.base import Growth
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

PATIENCE = 10.0  # seconds, after which a test that hangs fails


class Silent(ScriptedPolicy):
    """Takes jobs and never answers, unless the question is short. `begun` counts searches under way."""

    def __init__(self):
        super().__init__(context_length=100)
        object.__setattr__(self, "futures", [])
        object.__setattr__(self, "begun", threading.Semaphore(0))

    def submit(self, jobs, on_tokens=None):
        if len(jobs[0].prefix) < 6:
            return super().submit(jobs, on_tokens)
        future = Future()
        self.futures.append(future)
        if on_tokens is not None:
            on_tokens(0, self.codec.encode_text("The"))
        self.begun.release()
        return future

    def wait_for(self, n):
        assert all(self.begun.acquire(timeout=PATIENCE) for _ in range(n))

    @property
    def states(self):
        return [future.cancelled() for future in self.futures]


QUESTION = "Tell me a very long story"
SHORT = "Hi"
TOO_LONG = "word " * 200


@pytest.fixture
def policy():
    return Silent()


@pytest.fixture
def model(policy):
    return ChatDarwin(model=policy, reward=keyword_reward("sea"), search=BestOfN(n=1), seed=1)


def in_a_thread(function):
    """The function's future; it runs in the caller's context."""
    future = Future()

    def run():
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return future


class TestScope:
    def test_leaving_ends_what_began_within(self, model, policy):
        with CancelScope():
            running = in_a_thread(lambda: model.invoke(QUESTION))
            policy.wait_for(1)
        with pytest.raises(SearchCancelledError, match="CancelScope"):
            running.result(PATIENCE)
        assert policy.states == [True]

    def test_any_thread_may_cancel(self, model, policy):
        with CancelScope() as scope:
            canceller = in_a_thread(lambda: (policy.wait_for(1), scope.cancel()))
            with pytest.raises(SearchCancelledError):
                model.invoke(QUESTION)
        canceller.result(PATIENCE)
        assert policy.states == [True]

    def test_nothing_begins_in_a_cancelled_one(self, model, policy):
        with CancelScope() as scope:
            scope.cancel()
            with pytest.raises(SearchCancelledError):
                model.invoke(QUESTION)
        assert (policy.futures, scope.cancelled) == ([], True)

    def test_an_outer_one_ends_the_searches_of_inner_ones(self, model, policy):
        with CancelScope() as outer, CancelScope() as inner:
            running = in_a_thread(lambda: model.invoke(QUESTION))
            policy.wait_for(1)
            outer.cancel()
            assert isinstance(running.exception(PATIENCE), SearchCancelledError)
            assert not inner.cancelled

    def test_what_began_before_and_after_goes_on(self, model, policy):
        before = in_a_thread(lambda: model.invoke(QUESTION))
        policy.wait_for(1)
        with CancelScope():
            pass
        after = in_a_thread(lambda: model.invoke(QUESTION))
        policy.wait_for(1)
        assert policy.states == [False, False]
        for future in policy.futures:
            future.set_result([Growth((0,), 0.0, "stop")])
        assert before.result(PATIENCE).text == after.result(PATIENCE).text == ""

    def test_a_finished_search_is_not_touched(self, model):
        with CancelScope() as scope:
            answer = model.invoke(SHORT)
        assert (answer.text, scope._futures) == (model.invoke(SHORT).text, set())

    async def test_asynchronous_searches_too(self, model, policy):
        with CancelScope():
            task = asyncio.create_task(model.ainvoke(QUESTION))
            await asyncio.to_thread(policy.wait_for, 1)
        with pytest.raises(SearchCancelledError):
            await task

    def test_the_error_carries_what_was_found(self, policy):
        model = ChatDarwin(model=policy, reward=lambda messages, responses: [1.0] * len(responses), seed=1)
        with CancelScope() as scope:
            canceller = in_a_thread(lambda: (policy.wait_for(1), scope.cancel()))
            with pytest.raises(SearchCancelledError) as caught:
                model.invoke(QUESTION, search=BestOfN(n=2))
        canceller.result(PATIENCE)
        assert caught.value.best is None
        assert caught.value.trace[-1]["type"] == "Failed"  # type: ignore[misc]
        assert isinstance(caught.value, (DarwinError, CancelledError))

    def test_a_judge_that_asks_the_policy_is_cut_short(self, policy):
        """`reward="self"` waits for the policy, too."""

        class Judging(Silent):
            def submit(self, jobs, on_tokens=None):
                return ScriptedPolicy.submit(self, jobs, on_tokens)

            def propose(self, prefixes, k, among=None):
                future = Future()
                self.futures.append(future)
                self.begun.release()
                return future

        judging = Judging()
        model = ChatDarwin(model=judging, reward="self", search=BestOfN(n=1), seed=1)
        with CancelScope() as scope:
            canceller = in_a_thread(lambda: (judging.wait_for(1), scope.cancel()))
            with pytest.raises(SearchCancelledError) as caught:
                model.invoke(SHORT)
        canceller.result(PATIENCE)
        assert (judging.states, bool(caught.value.best.text)) == ([True], True)


class TestBatch:
    def test_one_failure_ends_the_others(self, model, policy):
        with pytest.raises(ContextOverflowError):
            model.batch([QUESTION, TOO_LONG, QUESTION])
        assert all(policy.states)

    def test_inputs_that_wait_for_a_thread_do_not_begin(self, model, policy):
        with pytest.raises(ContextOverflowError):
            model.batch([TOO_LONG, *[QUESTION] * 5], {"max_concurrency": 1})
        assert len(policy.states) <= 1

    def test_control_c_ends_all(self, model, policy, monkeypatch):
        """As if the user pressed it while the calling thread waits."""

        def interrupted(waiting):
            policy.wait_for(3)
            raise KeyboardInterrupt
            yield

        monkeypatch.setattr("langchain_darwin.chat.hooks.batching.as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.batch([QUESTION] * 3)
        assert policy.states == [True] * 3

    def test_an_iterator_closed_early_ends_the_rest(self, model, policy):
        with closing(model.batch_as_completed([QUESTION, SHORT, QUESTION])) as answers:
            at, answer = next(answers)
            policy.wait_for(2)
        assert (at, answer.text, policy.states) == (1, model.invoke(SHORT).text, [True] * 2)

    def test_what_the_caller_begins_meanwhile_is_his_own(self, model, policy):
        answers = model.batch_as_completed([SHORT, SHORT])
        next(answers)
        running = in_a_thread(lambda: model.invoke(QUESTION))
        policy.wait_for(1)
        answers.close()
        assert policy.states == [False]
        policy.futures[0].set_result([Growth((0,), 0.0, "stop")])
        assert running.result(PATIENCE).text == ""

    def test_a_scope_around_it(self, model, policy):
        with CancelScope() as scope:
            canceller = in_a_thread(lambda: (policy.wait_for(2), scope.cancel()))
            with pytest.raises(SearchCancelledError):
                model.batch([QUESTION, QUESTION])
        canceller.result(PATIENCE)
        assert policy.states == [True] * 2

    def test_in_a_chain(self, model, policy):
        chain = RunnableLambda(str.strip) | model.with_config(tags=["a"])
        with pytest.raises(ContextOverflowError):
            chain.batch([QUESTION, TOO_LONG])
        assert all(policy.states)

    def test_nothing_and_one(self, model):
        assert model.batch([]) == list(model.batch_as_completed([])) == []
        [answer] = model.batch([SHORT])
        assert answer.text == model.invoke(SHORT).text


class TestAsyncBatch:
    async def test_one_failure_ends_the_others(self, model, policy):
        with pytest.raises(ContextOverflowError):
            await model.abatch([QUESTION, TOO_LONG, QUESTION])
        assert all(policy.states)

    async def test_an_iterator_closed_early_ends_the_rest(self, model, policy):
        async with aclosing(model.abatch_as_completed([QUESTION, SHORT, QUESTION])) as answers:
            at, answer = await anext(answers)
            await asyncio.to_thread(policy.wait_for, 2)
        assert (at, answer.text, policy.states) == (1, model.invoke(SHORT).text, [True] * 2)

    async def test_a_cancelled_one_ends_all(self, model, policy):
        task = asyncio.create_task(model.abatch([QUESTION] * 3))
        await asyncio.to_thread(policy.wait_for, 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert policy.states == [True] * 3

    async def test_the_users_limit(self, model, policy):
        task = asyncio.create_task(model.abatch([QUESTION] * 3, {"max_concurrency": 1}))
        for begun in (1, 2, 3):
            await asyncio.to_thread(policy.wait_for, 1)
            assert len(policy.futures) == begun
            policy.futures[-1].set_result([Growth((0,), 0.0, "stop")])
        assert [answer.text for answer in await task] == [""] * 3

    async def test_failures_can_be_returned(self, model):
        short, long = await model.abatch([SHORT, TOO_LONG], return_exceptions=True)
        assert (short.text, type(long)) == (model.invoke(SHORT).text, ContextOverflowError)

    async def test_nothing(self, model):
        assert await model.abatch([]) == [answer async for answer in model.abatch_as_completed([])] == []


class Raising(BaseCallbackHandler):
    raise_error = True

    def on_llm_new_token(self, token, **kwargs):
        raise LookupError


class TestStreams:
    def test_closed_early(self, model, policy):
        with closing(model.stream(QUESTION)) as chunks:
            assert next(chunks).text == "The"
        assert policy.states == [True]

    def test_a_chain_closed_early(self, model, policy):
        with closing((RunnableLambda(str.strip) | model).stream(QUESTION)) as chunks:
            assert next(chunks).text == "The"
        assert policy.states == [True]

    def test_a_callback_that_raises(self, model, policy):
        with pytest.raises(LookupError):
            list(model.stream(QUESTION, config={"callbacks": [Raising()]}))
        assert policy.states == [True]


class TestThreadsOfOthers:
    """LangGraph and LangChain wait for their threads when they are left; a scope ends what these wait for."""

    def test_a_graph_left_early(self, model, policy):
        def node(state):
            return {"messages": [model.invoke(state["messages"])]}

        app = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model").compile()
        asked = {"messages": [("user", QUESTION)]}
        with closing(app.stream(asked, stream_mode="messages")) as chunks, CancelScope():
            assert next(chunks)[0].text == "The"
        assert policy.states == [True]

    def test_parallel_branches(self, model, policy):
        def fails(_):
            policy.wait_for(1)
            scope.cancel()
            raise LookupError

        both = RunnableParallel(answer=model, other=fails)
        with CancelScope() as scope, pytest.raises((LookupError, SearchCancelledError)):
            both.invoke(QUESTION)
        assert policy.states == [True]
