"""ChatDarwin in LangChain's agents and in LangGraph: every way of asking for an answer's form, tools, streams."""

from __future__ import annotations

import json
import re

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ContextEditingMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    wrap_tool_call,
)
from langchain.agents.middleware.context_editing import ClearToolUsesEdit
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ContextOverflowError
from langchain_darwin.testing import ScriptedPolicy, keyword_reward


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        msg = f"{city} is not on the map"
        raise LookupError(msg)
    return f"3 degrees in {city}"


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def respond(conversation, tools):
    """Asks for the weather when there is a tool for it, then answers in the form that is wanted."""
    last = conversation.rpartition("\nassistant:")[0].rpartition("\n")[2]
    names = [each["function"]["name"] for each in tools]
    if last.startswith("user:") and "weather" in names:
        return call("weather", city=last.split()[-1].rstrip("?"))
    if "Weather" in names:
        return call("Weather", city="Oslo", degrees=3)
    if "JSON Schema:" in conversation:
        return '{"city": "Oslo", "degrees": 3}'
    return "Three degrees." if "degrees" in last else "I do not know."


def chat(**fields):
    defaults = {"model": ScriptedPolicy(respond), "reward": keyword_reward("degrees"), "search": BestOfN(n=2)}
    return ChatDarwin(**{**defaults, "seed": 1, "max_tokens": 60, **fields})


def asked(city="Oslo"):
    return {"messages": [HumanMessage(f"What is the weather in {city}?")]}


def kinds(messages):
    return [type(message).__name__.removesuffix("Message") for message in messages]


FORMS = {
    "provider": ProviderStrategy(Weather),
    "provider, strict": ProviderStrategy(Weather, strict=True),
    "tool": ToolStrategy(Weather),
    "auto": AutoStrategy(Weather),
    "raw": Weather,
    "JSON Schema": {"title": "Weather", **Weather.model_json_schema()},
}


class TestForms:
    @pytest.mark.parametrize("tools", [[], [weather]], ids=["alone", "tools"])
    @pytest.mark.parametrize("form", FORMS)
    async def test_each(self, form, tools):
        agent = create_agent(chat(), tools, response_format=FORMS[form])
        for state in (agent.invoke(asked()), await agent.ainvoke(asked())):
            found = state["structured_response"]
            assert (found if isinstance(found, dict) else found.model_dump()) == {"city": "Oslo", "degrees": 3}
            expected = ["Human", *(["AI", "Tool"] if tools else []), "AI"]
            assert kinds(state["messages"])[: len(expected)] == expected

    def test_a_schema_is_enforced_by_the_model_as_its_profile_says(self):
        state = create_agent(chat(), response_format=Weather).invoke(asked())
        assert state["messages"][-1].tool_calls == []  # no call, as ToolStrategy would make
        unable = chat(profile={"structured_output": False})
        state = create_agent(unable, response_format=Weather).invoke(asked())
        assert state["messages"][1].tool_calls

    def test_none(self):
        state = create_agent(chat()).invoke(asked())
        assert kinds(state["messages"]) == ["Human", "AI"]

    def test_reasoning_does_not_spoil_the_json(self):
        def think(conversation, tools):
            return "<think>\nHm.\n</think>\n\n" + respond(conversation, tools)

        model = chat(model=ScriptedPolicy(think), response_template="hermes")
        state = create_agent(model, [weather], response_format=ProviderStrategy(Weather)).invoke(asked())
        assert state["structured_response"] == Weather(city="Oslo", degrees=3)


class TestTools:
    def test_a_loop(self):
        state = create_agent(chat(), [weather], system_prompt="Be brief.", name="Ada").invoke(asked())
        assert kinds(state["messages"]) == ["Human", "AI", "Tool", "AI"]
        assert state["messages"][-1].text == "Three degrees."
        assert state["messages"][-1].name == "Ada"
        (made,) = state["messages"][1].tool_calls
        assert state["messages"][2].tool_call_id == made["id"]

    def test_a_failed_tool_is_read(self):
        seen = []

        def read(conversation, tools):
            seen.append(conversation)
            return respond(conversation, tools)

        @wrap_tool_call
        def caught(request, handler):
            try:
                return handler(request)
            except LookupError as error:
                return ToolMessage(str(error), tool_call_id=request.tool_call["id"], status="error")

        agent = create_agent(chat(model=ScriptedPolicy(read)), [weather], middleware=[caught])
        state = agent.invoke(asked("Atlantis"))
        assert "tool: Error: Atlantis is not on the map" in seen[-1]
        assert state["messages"][-1].text == "I do not know."

    def test_turns_go_on(self):
        agent = create_agent(chat(), [weather], checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        agent.invoke(asked("Oslo"), config)
        state = agent.invoke(asked("Rome"), config)
        assert kinds(state["messages"]) == ["Human", "AI", "Tool", "AI"] * 2
        calls = [message.tool_calls[0] for message in state["messages"] if getattr(message, "tool_calls", None)]
        assert [each["args"]["city"] for each in calls] == ["Oslo", "Rome"]
        assert calls[0]["id"] != calls[1]["id"]

    def test_the_reward_sees_calls(self):
        def in_rome(messages, responses):
            return [float(any(c["args"].get("city") == "Rome" for c in r.tool_calls)) for r in responses]

        def cities(conversation, tools):
            if re.search(r"\ntool: ", conversation):
                return "Done."
            return [call("weather", city=city) for city in ("Oslo", "Rome", "Lima")]

        model = chat(model=ScriptedPolicy(cities), reward=in_rome, search=BestOfN(n=9))
        state = create_agent(model, [weather]).invoke({"messages": [HumanMessage("Anywhere")]})
        assert state["messages"][1].tool_calls[0]["args"] == {"city": "Rome"}


class TestStreams:
    async def test_messages_updates_and_custom(self):
        agent = create_agent(chat(search=BestOfN(n=1)), [weather])
        modes = ["messages", "updates", "custom"]
        seen = {mode: [] for mode in modes}
        async for mode, item in agent.astream(asked(), stream_mode=modes):
            seen[mode].append(item)
        blocking = {mode: [] for mode in modes}
        for mode, item in agent.stream(asked(), stream_mode=modes):
            blocking[mode].append(item)
        for found in (seen, blocking):
            assert [next(iter(update)) for update in found["updates"]] == ["model", "tools", "model"]
            events = [item["darwin"]["event"] for item in found["custom"]]
            assert events.count("started") == events.count("finished") == 2
            texts = [chunk.text for chunk, _ in found["messages"] if isinstance(chunk, AIMessage) and chunk.text]
            assert texts == ["Three", " degrees."]
            metadata = [facts for _, facts in found["messages"]]
            assert metadata[0]["ls_provider"] == "darwin"

    async def test_a_graph_streams_what_a_node_invokes(self):
        model = chat(search=BestOfN(n=1))

        async def node(state):
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model").compile()
        chunks = [chunk async for chunk, _ in graph.astream(asked(), stream_mode="messages")]
        assert "".join(chunk.text for chunk in chunks) == "I do not know."
        assert len({chunk.id for chunk in chunks}) == 1
        assert len(chunks) > 3

    async def test_a_model_can_be_kept_out(self):
        model = chat(search=BestOfN(n=1), tags=["nostream"])

        async def node(state):
            await model.ainvoke(state["messages"])
            return {}

        graph = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model").compile()
        assert [chunk async for chunk in graph.astream(asked(), stream_mode="messages")] == []


class TestMiddleware:
    def test_a_fallback_takes_over_when_the_context_is_full(self):
        small = chat(model=ScriptedPolicy(respond, context_length=5))
        agent = create_agent(small, [weather], middleware=[ModelFallbackMiddleware(chat())])
        assert agent.invoke(asked())["messages"][-1].text == "Three degrees."

    def test_retries_are_for_what_may_pass(self):
        tries = []

        def judge(messages, responses):
            tries.append(1)
            if len(tries) == 1:
                raise ConnectionError
            return [0.0] * len(responses)

        retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False, on_failure="error")
        agent = create_agent(chat(reward=judge), middleware=[retry])
        assert agent.invoke(asked())["messages"][-1].text
        tries.clear()
        small = chat(model=ScriptedPolicy(context_length=5), on_search_event=tries.append)
        with pytest.raises(ValueError, match="holds 5 of prompt"):
            create_agent(small, middleware=[retry]).invoke(asked())

    def test_a_summary_is_tried_again_when_it_does_not_fit(self):
        failed = []

        class Listener(BaseCallbackHandler):
            def on_llm_error(self, error, **kwargs):
                failed.append(type(error))

        script = ScriptedPolicy(lambda conversation, tools: "They spoke of the weather.", context_length=1200)
        small = chat(model=script, callbacks=[Listener()])
        old = [HumanMessage("word " * 200) if i % 2 == 0 else AIMessage("Yes.") for i in range(20)]
        limits = {"trigger": ("messages", 10), "keep": ("messages", 2), "trim_tokens_to_summarize": None}
        agent = create_agent(chat(), middleware=[SummarizationMiddleware(small, **limits)])
        state = agent.invoke({"messages": [*old, *asked()["messages"]]})
        assert "They spoke of the weather." in state["messages"][0].text
        assert failed == [ContextOverflowError]

    def test_the_profile_serves_fractions(self):
        model = chat(model=ScriptedPolicy(respond, context_length=2000))
        summary = SummarizationMiddleware(model, trigger=("fraction", 0.1), keep=("messages", 1))
        old = [HumanMessage("word " * 500), AIMessage("Yes.")]
        state = create_agent(model, middleware=[summary]).invoke({"messages": [*old, *asked()["messages"]]})
        assert "summary" in state["messages"][0].text.lower()

    def test_context_editing_counts_with_the_model(self):
        edit = ClearToolUsesEdit(trigger=30, keep=0, clear_at_least=0)
        middleware = ContextEditingMiddleware(edits=[edit], token_count_method="model")
        seen = []

        def read(conversation, tools):
            seen.append(conversation)
            return respond(conversation, tools)

        agent = create_agent(chat(model=ScriptedPolicy(read)), [weather], middleware=[middleware])
        agent.invoke(asked())
        assert "[cleared]" in seen[-1]


def test_a_system_message_comes_first():
    seen = []

    def read(conversation, tools):
        seen.append(conversation)
        return "Yes."

    create_agent(chat(model=ScriptedPolicy(read)), system_prompt=SystemMessage("Be brief.")).invoke(asked())
    assert seen[0].startswith("system: Be brief.\nuser:")
