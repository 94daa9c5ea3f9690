"""Forced calls and schemas on the embedded model: valid every time, however hot."""

from __future__ import annotations

import json
from typing import Literal

import jsonschema
import pytest
from langchain_core.messages import HumanMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.tool_use import definitions

pytestmark = pytest.mark.slow


def weather(city: str, days: int = 1) -> None:
    """Weather forecast for a city."""


def send(to: str, subject: str, body: str, tags: list[str]) -> None:
    """Send an email."""


def place(city: Literal["Oslo", "Rome"]) -> None:
    """Choose a place."""


def longest(messages, responses):
    """The more the better, in the text or in the arguments of calls."""
    return [
        float(len(response.text) + len(str([call["args"] for call in response.tool_calls]))) for response in responses
    ]


HOT = {"temperature": 1.5, "top_k": 0, "max_tokens": 72, "n": 8, "seed": 3, "search": BestOfN(n=8), "reward": longest}


def rewards(messages):
    return [message.response_metadata["darwin"]["reward"] for message in messages]


def test_forced_calls_are_valid_however_hot():
    model = ChatDarwin(**HOT)
    tools = definitions([weather, send])
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    result = model._generate([HumanMessage("Write to Ann about the weather in Oslo.")], tools=tools, tool_choice="any")
    messages = [generation.message for generation in result.generations]
    assert [(len(m.tool_calls), len(m.invalid_tool_calls)) for m in messages] == [(1, 0)] * 8
    for message in messages:
        [call] = message.tool_calls
        jsonschema.validate(call["args"], schemas[call["name"]])
    assert rewards(messages) == sorted(longest([], messages), reverse=True)


def test_schemas_hold_however_hot_and_the_best_valid_answer_comes_first():
    form = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "degrees": {"type": "integer", "minimum": -40, "maximum": 50},
            "sky": {"enum": ["clear", "grey"]},
            "wind": {"type": "array", "items": {"type": "number"}, "minItems": 1},
        },
        "required": ["city", "degrees", "sky", "wind"],
    }
    result = ChatDarwin(**HOT)._generate([HumanMessage("How is the weather in Oslo?")], response_format=form)
    messages = [generation.message for generation in result.generations]
    for message in messages:
        jsonschema.validate(json.loads(message.text), form)
    assert len({message.text for message in messages}) > 1
    assert rewards(messages) == sorted(longest([], messages), reverse=True)


def test_what_had_to_be_closed_says_so():
    form = {"type": "object", "properties": {"poem": {"type": "string", "minLength": 20}}, "required": ["poem"]}
    short = {"type": "object", "properties": {"fine": {"enum": ["yes", "no"]}}, "required": ["fine"]}
    model = ChatDarwin(search=BestOfN(n=2), reward=longest, seed=3, max_tokens=40)
    answers = [
        model.invoke("Write a long poem about the sea.", response_format=form),
        model.invoke("Is the sea grey?", response_format=short),
        model.invoke("Write a long letter to Ann.", tools=definitions([send]), tool_choice="any", max_tokens=64),
        model.invoke("Is it fine in Oslo?", tools=definitions([place]), tool_choice="any"),
    ]
    assert [answer.response_metadata["finish_reason"] for answer in answers] == [
        "length",
        "stop",
        "length",
        "tool_calls",
    ]
    for answer, schema in zip(answers[:2], [form, short], strict=True):
        jsonschema.validate(json.loads(answer.text), schema)
    assert [len(answer.tool_calls) for answer in answers] == [0, 0, 1, 1]
