"""Forced calls and schemas on the embedded model: valid every time, however hot."""

from __future__ import annotations

import jsonschema
from langchain_core.messages import HumanMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.tools import definitions


def weather(city: str, days: int = 1) -> None:
    """Weather forecast for a city."""


def send(to: str, subject: str, body: str, tags: list[str]) -> None:
    """Send an email."""


def test_forced_calls_are_valid_however_hot():
    settings = {"temperature": 1.5, "top_k": 0, "max_tokens": 72, "n": 8, "seed": 3}
    model = ChatDarwin(search=BestOfN(n=8), reward=lambda messages, responses: [0.0] * len(responses), **settings)
    tools = definitions([weather, send])
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    result = model._generate([HumanMessage("Write to Ann about the weather in Oslo.")], tools=tools, tool_choice="any")
    messages = [generation.message for generation in result.generations]
    assert [(len(m.tool_calls), len(m.invalid_tool_calls)) for m in messages] == [(1, 0)] * 8
    for message in messages:
        [call] = message.tool_calls
        jsonschema.validate(call["args"], schemas[call["name"]])
