"""The middleware that sets an agent's search step by step."""

from __future__ import annotations

import json

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import PolicyError
from langchain_darwin.middleware import SearchMiddleware
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

QUESTION = {"messages": [HumanMessage("What is the weather in Oslo?")]}


class Weather(BaseModel):
    """The weather."""

    degrees: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"It is cold in {city}."


def respond(conversation, tools):
    """Calls the tool once, then tells; three ways of telling, of which the reward likes one."""
    if conversation.rstrip().endswith("What is the weather in Oslo?\nassistant:"):
        return call("weather", {"city": "Oslo"})
    if any(tool["function"]["name"] == "Weather" for tool in tools):
        return call("Weather", {"degrees": 3})
    return ["Cold.", "It is cold by the sea.", "Quite cold."]


def call(name, arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def agent(middleware, **settings):
    fields = {"reward": keyword_reward("sea"), "search": BestOfN(n=8), "seed": 1, "max_tokens": 40}
    return create_agent(
        ChatDarwin(model=ScriptedPolicy(respond), **fields), [weather], middleware=[middleware], **settings
    )


def told(state):
    return [(step["purpose"], step["kept"], step["search"]) for step in state["darwin"]]


STEPS = [("draft", True, "BestOfN"), ("draft", False, "BestOfN"), ("answer", True, "BestOfN")]


async def test_tool_calls_are_drafts_and_answers_are_searched():
    app = agent(SearchMiddleware())
    state = app.invoke(QUESTION)
    assert state["messages"][-1].text == "It is cold by the sea."
    assert told(state) == STEPS
    assert [step["judged"] for step in state["darwin"]] == [1, 1, 3]  # equal texts are judged once
    assert told(await app.ainvoke(QUESTION)) == STEPS


def test_the_answers_search_may_be_another():
    state = agent(SearchMiddleware(BestOfN(n=20), step=BestOfN(n=2))).invoke(QUESTION)
    draft, _, answer = (step["tokens"]["decoded"] for step in state["darwin"])
    assert draft < answer


def test_a_structured_answer_is_an_answer():
    state = agent(SearchMiddleware(), response_format=ToolStrategy(Weather)).invoke(QUESTION)
    assert state["structured_response"] == Weather(degrees=3)
    assert told(state) == STEPS


def test_the_user_may_choose_for_every_step():
    def choose(request):
        return BestOfN(n=1) if isinstance(request.messages[-1], HumanMessage) else None

    state = agent(SearchMiddleware(choose=choose)).invoke(QUESTION)
    assert [step["purpose"] for step in state["darwin"]] == ["chosen", "chosen"]
    assert [step["judged"] for step in state["darwin"]] == [1, 3]


async def test_dropped_drafts_are_not_streamed_and_steps_are_announced():
    told, texts = [], []
    async for mode, item in agent(SearchMiddleware()).astream(QUESTION, stream_mode=["custom", "messages"]):
        if mode == "custom" and item["darwin"]["event"] == "step":
            told.append(item["darwin"])
        elif mode == "messages" and isinstance(item[0], AIMessage):
            texts.append(item[0].text)
    assert [step["purpose"] for step in told] == ["draft", "draft", "answer"]
    assert "".join(texts) == "It is cold by the sea."


def test_other_models_are_left_alone():
    from langchain_core.language_models import GenericFakeChatModel

    app = create_agent(GenericFakeChatModel(messages=iter([AIMessage("Hi.")])), middleware=[SearchMiddleware()])
    assert app.invoke(QUESTION)["messages"][-1].text == "Hi."


def test_without_langchain_the_extra_is_named(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "langchain.agents", None)
    monkeypatch.delitem(sys.modules, "langchain_darwin.middleware")
    with pytest.raises(ImportError, match=r"pip install 'langchain-darwin\[agents\]'"):
        importlib.import_module("langchain_darwin.middleware")


class Other(GenericFakeChatModel):
    """Another provider's model, which refuses what it does not know, as providers' clients do."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        assert kwargs.keys() <= {"tools", "tool_choice"}
        return super()._generate(messages, stop, run_manager, **kwargs)

    def bind_tools(self, tools, **kwargs):
        assert not kwargs.keys() - {"tool_choice"}
        return self


def failing(*arguments):
    raise PolicyError("down")


@pytest.mark.parametrize("order", ["fallback outside", "fallback inside"])
@pytest.mark.parametrize("settings", [{}, {"choose": lambda request: BestOfN(n=3)}])
async def test_the_search_does_not_reach_the_model_of_a_fallback(order, settings):
    from langchain.agents.middleware import ModelFallbackMiddleware

    def app():
        fallback = ModelFallbackMiddleware(Other(messages=iter([AIMessage("Hi.")] * 4)))
        both = [fallback, SearchMiddleware(BestOfN(n=2), **settings)]
        return create_agent(
            ChatDarwin(model=ScriptedPolicy(failing), reward=keyword_reward("sea")),
            [weather],
            middleware=both if order == "fallback outside" else both[::-1],
        )

    assert app().invoke(QUESTION)["messages"][-1].text == "Hi."
    assert (await app().ainvoke(QUESTION))["messages"][-1].text == "Hi."


@pytest.mark.parametrize(
    "bound",
    [
        lambda model: model.bind(temperature=0.9),
        lambda model: model.with_config(tags=["mine"]),
        lambda model: model.bind(parallel_tool_calls=False),
    ],
)
def test_a_model_with_something_bound_is_searched_all_the_same(bound):
    fields = {"reward": keyword_reward("sea"), "search": BestOfN(n=8), "seed": 1, "max_tokens": 40}
    model = bound(ChatDarwin(model=ScriptedPolicy(respond), **fields))
    state = create_agent(model, [weather], middleware=[SearchMiddleware()]).invoke(QUESTION)
    assert told(state) == STEPS


async def test_a_handler_that_raises_stop_iteration_gives_no_empty_answer():
    from langchain.agents.middleware import AgentMiddleware

    class Broken(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            raise StopIteration

        async def awrap_model_call(self, request, handler):
            raise StopIteration

    fields = {"reward": keyword_reward("sea"), "search": BestOfN(n=2)}
    app = create_agent(
        ChatDarwin(model=ScriptedPolicy(respond), **fields), [weather], middleware=[SearchMiddleware(), Broken()]
    )
    with pytest.raises((StopIteration, RuntimeError)):
        app.invoke(QUESTION)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await app.ainvoke(QUESTION)


def test_the_state_survives_a_checkpoint():
    from langgraph.checkpoint.memory import InMemorySaver

    app = create_agent(
        ChatDarwin(model=ScriptedPolicy(respond), reward=[keyword_reward("sea"), keyword_reward("cold")], seed=1),
        [weather],
        middleware=[SearchMiddleware(BestOfN(n=3))],
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "1"}}
    state = app.invoke(QUESTION, config)
    assert app.get_state(config).values["darwin"] == state["darwin"]
    assert {type(step["reward"]) for step in state["darwin"]} == {float}
