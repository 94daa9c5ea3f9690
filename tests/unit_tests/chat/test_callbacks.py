"""Progress events reach every surface that LangChain and LangGraph have; a reward's own models are in the trace."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from langchain_darwin import ChatDarwin, Darwin
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

EVENTS = {"started", "cycle_started", "mutated", "grown", "scored", "replaced", "archived", "finished"}


def chat(**fields):
    defaults = {
        "model": ScriptedPolicy(),
        "reward": keyword_reward("sea"),
        "search": Darwin(period=8, mutation="append", replacement="top_k"),
        "seed": 1,
    }
    return ChatDarwin(**{**defaults, **fields})


class Listener(BaseCallbackHandler):
    def __init__(self):
        self.events, self.runs, self.model_runs = [], set(), {}

    def on_chat_model_start(self, serialized, messages, *, run_id, parent_run_id=None, tags=None, **kwargs):
        self.model_runs[run_id] = (parent_run_id, tags)

    def on_custom_event(self, name, data, *, run_id, **kwargs):
        assert name == "darwin"
        json.dumps(data)
        self.events.append(data["event"])
        self.runs.add(run_id)


class AsyncListener(AsyncCallbackHandler):
    def __init__(self):
        self.events = []

    async def on_custom_event(self, name, data, *, run_id, **kwargs):
        self.events.append(data["event"])


def test_callbacks_of_invoke_hear_of_the_search_under_the_models_run():
    listener = Listener()
    chat().invoke("Write a line", config={"callbacks": [listener]})
    assert set(listener.events) == EVENTS
    assert (listener.events[0], listener.events[-1]) == ("started", "finished")
    assert listener.runs == set(listener.model_runs)


async def test_callbacks_of_ainvoke_hear_of_the_search():
    listener, awaited = Listener(), AsyncListener()
    await chat().ainvoke("Write a line", config={"callbacks": [listener, awaited]})
    assert listener.events == awaited.events
    assert set(awaited.events) == EVENTS


async def test_event_streams_carry_the_search():
    stream = chat().astream_events("Write a line", version="v2")
    heard = {event["data"]["event"] async for event in stream if event["event"] == "on_custom_event"}
    assert heard == EVENTS


async def test_a_stream_inside_a_chain_tells_the_chain():
    model = chat()

    def sync_step(text):
        return "".join(chunk.text for chunk in model.stream(text))

    async def async_step(text):
        return "".join([chunk.text async for chunk in model.astream(text)])

    listener, awaited = Listener(), Listener()
    answer = RunnableLambda(sync_step).invoke("Write a line", config={"callbacks": [listener]})
    assert await RunnableLambda(async_step).ainvoke("Write a line", config={"callbacks": [awaited]}) == answer
    assert listener.events == awaited.events
    assert set(listener.events) == EVENTS


def test_a_bare_stream_has_nobody_to_tell_but_the_observer():
    seen = []
    list(chat(on_search_event=seen.append).stream("Write a line"))
    assert seen


@pytest.fixture
def graph():
    from langgraph.graph import END, START, MessagesState, StateGraph

    def build(model):
        async def anode(state):
            return {"messages": [await model.ainvoke(state["messages"])]}

        def node(state):
            return {"messages": [model.invoke(state["messages"])]}

        builder = StateGraph(MessagesState)
        builder.add_node("model", RunnableLambda(node, afunc=anode))
        builder.add_edge(START, "model")
        builder.add_edge("model", END)
        return builder.compile()

    return build


async def test_langgraphs_custom_stream_carries_the_search(graph):
    question = {"messages": [("user", "Write a line")]}
    app = graph(chat())
    blocking = [item["darwin"]["event"] for item in app.stream(question, stream_mode="custom")]
    awaited = [item["darwin"]["event"] async for item in app.astream(question, stream_mode="custom")]
    assert set(blocking) == set(awaited) == EVENTS


def judge(answers):
    """An LLM judge as users write one: a runnable that ends in a number."""
    model = GenericFakeChatModel(messages=iter([AIMessage("1.0")] * answers))
    return RunnableLambda(lambda asked: asked["response"].text) | model | RunnableLambda(lambda m: float(m.text))


async def test_a_judges_tokens_stay_out_of_the_graphs_messages(graph):
    app = graph(chat(reward=judge(100)))
    texts = [
        chunk.text async for chunk, _ in app.astream({"messages": [("user", "Write a line")]}, stream_mode="messages")
    ]
    assert "1.0" not in texts
    assert texts


def test_a_judges_runs_are_children_of_the_search():
    listener = Listener()
    chat(reward=judge(100)).invoke("Write a line", config={"callbacks": [listener]})
    (own,) = [run for run, (parent, _) in listener.model_runs.items() if parent is None]
    judges = [tags for parent, tags in listener.model_runs.values() if parent is not None]
    assert listener.runs == {own}
    assert judges
    assert all("nostream" in tags for tags in judges)


def test_a_stream_with_streaming_switched_off_gives_the_answer_whole():
    (message,) = chat(disable_streaming=True).stream("Write a line")
    assert message.text == chat().invoke("Write a line").text


class Recorder(BaseCallbackHandler):
    """Notes events with their tags and metadata, and the runs of models with their parents."""

    def __init__(self, *, raising=None):
        self.events, self.models, self.raising = [], [], raising
        self.raise_error = raising is not None

    def on_chat_model_start(self, serialized, messages, *, run_id, parent_run_id=None, tags=None, **kwargs):
        self.models.append((run_id, parent_run_id, tuple(tags or ())))

    def on_custom_event(self, name, data, *, run_id, tags=None, metadata=None, **kwargs):
        self.events.append((data["event"], run_id, tuple(tags or ()), (metadata or {}).get("who")))
        if self.raising is not None:
            raise self.raising


WAYS = ["invoke", "ainvoke", "stream", "astream"]


async def answer_by(way, model, *config):
    """One answer, by each way of calling."""
    if way == "invoke":
        return model.invoke("Write a line", *config)
    if way == "ainvoke":
        return await model.ainvoke("Write a line", *config)
    if way == "stream":
        return list(model.stream("Write a line", *config))
    return [chunk async for chunk in model.astream("Write a line", *config)]


@pytest.mark.parametrize("way", WAYS)
class TestEveryWayOfCalling:
    async def test_the_models_own_handlers_tags_and_metadata_count(self, way):
        own, config = Recorder(), Recorder()
        model = chat(callbacks=[own], tags=["of-model"], metadata={"who": "me"})
        await answer_by(way, model, {"callbacks": [config], "tags": ["of-call"]})
        assert own.events == config.events
        ((run, _, tags),) = own.models
        assert {event for event, *_ in own.events} == EVENTS
        assert {seen for _, seen, *_ in own.events} == {run}
        assert {(frozenset(seen), who) for _, _, seen, who in own.events} == {(frozenset(tags), "me")}
        assert {"of-model", "of-call"} <= set(tags)

    async def test_a_handler_is_told_once(self, way):
        handler = Recorder()
        await answer_by(way, chat(callbacks=[handler]), {"callbacks": [handler]})
        assert [event for event, *_ in handler.events].count("started") == 1
        assert len(handler.models) == 1

    async def test_a_judges_runs_are_children_of_the_models_run(self, way):
        handler = Recorder()
        await answer_by(way, chat(reward=judge(100)), {"callbacks": [handler], "tags": ["inherited"]})
        (own,) = [run for run, parent, _ in handler.models if parent is None]
        judges = [(parent, tags) for _, parent, tags in handler.models if parent is not None]
        assert judges
        assert all("nostream" in tags and "inherited" in tags for _, tags in judges)
        chains = {event_run for _, event_run, *_ in handler.events}
        assert chains == {own}

    async def test_a_judge_of_a_model_with_own_handlers_is_not_theirs(self, way):
        own = Recorder()
        await answer_by(way, chat(reward=judge(100), callbacks=[own]))
        assert len(own.models) == 1  # LangChain does not inherit a model's own handlers

    @pytest.mark.parametrize("raising", [LookupError("mine"), StopIteration("mine")])
    async def test_a_handlers_error_reaches_the_caller_and_keeps_no_event_from_the_others(self, way, raising):
        before, after = Recorder(), Recorder()
        handlers = [before, Recorder(raising=raising), after]
        with pytest.raises((LookupError, RuntimeError)) as caught:
            async with asyncio.timeout(20):
                await answer_by(way, chat(), {"callbacks": handlers})
        assert raising in (caught.value, caught.value.__cause__)
        assert [event for event, *_ in before.events] == [event for event, *_ in after.events] == ["started"]

    async def test_a_handler_that_raises_quietly_is_logged_and_told_on(self, way):
        quiet, other = Recorder(raising=LookupError("mine")), Recorder()
        quiet.raise_error = False
        await answer_by(way, chat(), {"callbacks": [quiet, other]})
        assert [event for event, *_ in quiet.events] == [event for event, *_ in other.events]
        assert {event for event, *_ in other.events} == EVENTS

    @pytest.mark.parametrize("raised", [StopIteration, StopAsyncIteration, LookupError])
    async def test_an_observer_that_raises_loses_no_answer(self, way, raised):
        def broken(event):
            raise raised

        async with asyncio.timeout(20):
            assert await answer_by(way, chat(on_search_event=broken))


@pytest.mark.parametrize("raised", [StopIteration, StopAsyncIteration, LookupError])
@pytest.mark.parametrize("place", ["bind", "script", "codec", "context"])
async def test_user_code_that_raises_never_makes_a_call_wait_for_ever(raised, place):
    def raising(*arguments, **named):
        raise raised("mine")

    class Reward:
        def __call__(self, messages, responses):
            return [0.0] * len(responses)

        if place == "bind":
            bind = raising

    class Policy(ScriptedPolicy):
        if place == "codec":
            codec = property(raising, lambda self, value: None)
        if place == "context":
            context_length = property(raising, lambda self, value: None)

            def identity(self):
                return {"model": "x"}

    policy = ScriptedPolicy(raising) if place == "script" else Policy() if place == "bind" else None
    if policy is None:
        policy = object.__new__(Policy)
        vars(policy).update(vars(ScriptedPolicy()))
    model = chat(model=policy, reward=Reward())
    for way in WAYS:
        with pytest.raises((RuntimeError, raised)):
            async with asyncio.timeout(20):
                await answer_by(way, model)
