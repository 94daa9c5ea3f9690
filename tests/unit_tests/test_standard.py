"""LangChain's standard tests on a scripted model that calls tools and answers by whatever schema it is given."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.testing import ScriptedPolicy
from tests.tiny_models import cached_tiny_model

KNOWN = {"input": 3, "answer_style": "pirate"}
VALUES = {"integer": 3, "number": 1.5, "string": "cats", "boolean": True, "null": None, "array": [], "object": {}}
MARK = "follow this JSON Schema:\n"


def respond(conversation: str, tools: list[dict[str, Any]]) -> str:
    """Call the first tool when asked, answer by the schema when there is one, else talk."""
    question = re.split(r"\n(?=(?:system|user|assistant|tool):)", conversation)[-2]  # the last one is still empty
    quoted = re.search("named '([^']*)'", question)
    if "JSON Schema:" in conversation:
        schema = json.JSONDecoder().raw_decode(conversation.partition(MARK)[2])[0]
        return json.dumps(example(schema))
    if "Answer with a JSON object" in conversation:
        return '{"setup": "cats", "punchline": "dogs"}'
    if tools and question.startswith("user:"):
        function = tools[0]["function"]
        call = {"name": function["name"], "arguments": example(function.get("parameters", {}))}
        if quoted:
            call["arguments"]["customer_name"] = quoted[1]
        return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"
    return "The sea is calm and the sky is grey."


def example(schema: dict[str, Any], name: str = "") -> Any:
    """A value that a schema allows."""
    if name in KNOWN:
        return KNOWN[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], name)
    if "properties" in schema:
        return {key: example(value, key) for key, value in schema["properties"].items()}
    return VALUES[schema.get("type", "string")]


@pytest.fixture(autouse=True)
def folder_of_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a model can be named by its bare folder, as the tests of `model=` in a call do."""
    monkeypatch.chdir(cached_tiny_model("llama").parent)


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatDarwin

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": ScriptedPolicy(respond), "reward": length, "search": BestOfN(n=2)}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # `max_retries` and `api_key` are for models behind a server.
        return {"temperature": 0, "max_tokens": 100, "timeout": 60, "stop": []}

    @property
    def model_override_value(self) -> str:
        return "llama"


class TestJsonSchema(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatDarwin

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": ScriptedPolicy(respond), "reward": length, "search": BestOfN(n=2), "seed": 1, "max_tokens": 48}

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True  # their blocks of text, tool use and thinking; images are refused

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "llama"

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class TestFunctionCalling(TestJsonSchema):
    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


class TestDarwinSearch(TestJsonSchema):
    """The same under the default search, which adds to instructions."""

    supports_model_override = False  # a real model: covered above, and slow with a whole search

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": ScriptedPolicy(respond), "reward": length, "seed": 1, "max_tokens": 64}


def length(messages: list[Any], responses: list[Any]) -> list[float]:
    return [float(len(response.text)) for response in responses]
