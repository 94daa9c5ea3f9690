"""Progress events reach every surface that LangChain and LangGraph have; a reward's own models are in the trace."""

from __future__ import annotations

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
