"""Output formats: what an answer must look like, how the model is told, and how it is parsed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    BaseGenerationOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_darwin.dialects.plain_text import with_system_text
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.base import Conversation

Method = Literal["json_schema", "function_calling", "json_mode"]
METHODS = ("json_schema", "function_calling", "json_mode")

_SCHEMA_WORDS = frozenset({"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})
_ANY_OBJECT = {"type": "object", "additionalProperties": True}


@dataclass(frozen=True)
class OutputFormat:
    """A JSON Schema that the whole answer must follow; `told` is whether it says more than "an object"."""

    schema: Mapping[str, Any]
    told: bool = True

    @property
    def text(self) -> str:
        """The schema as JSON."""
        return json.dumps(self.schema, ensure_ascii=False)

    def instruct(self, conversation: Conversation) -> Conversation:
        """The conversation with the format told in its system turn."""
        if not self.told:
            return with_system_text(conversation, "Answer with a JSON object and nothing else.")
        words = f"Answer with JSON and nothing else. It must follow this JSON Schema:\n{self._readable()}"
        return with_system_text(conversation, words)

    def _readable(self) -> str:
        """The schema with references replaced by what they refer to, where that is finite."""
        try:
            plain = {key: value for key, value in dereference_refs(dict(self.schema)).items() if key != "$defs"}
            return json.dumps(plain, ensure_ascii=False)
        except (KeyError, ValueError, RecursionError):
            return self.text


def output_format(value: Any) -> OutputFormat | None:
    """The format that a `response_format` asks for: None, a class, a JSON Schema, or OpenAI's dicts.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if value is None or (isinstance(value, Mapping) and value.get("type") == "text"):
        return None
    if isinstance(value, Mapping) and value.get("type") == "json_object":
        return OutputFormat(_ANY_OBJECT, told=False)
    if isinstance(value, Mapping) and value.get("type") == "json_schema":
        value = (value.get("json_schema") or {}).get("schema")
    return OutputFormat(json_schema(value))


def json_schema(schema: Any) -> Mapping[str, Any]:
    """The JSON Schema of a Pydantic class, a TypedDict, or a JSON Schema.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if isinstance(schema, Mapping) and _SCHEMA_WORDS & schema.keys():
        return schema
    try:
        return convert_to_json_schema(schema)
    except (ValueError, TypeError) as error:
        msg = (
            f"the output schema {schema!r} is neither a Pydantic class nor a TypedDict nor a JSON Schema: {error}; "
            'pass one, or {"type": "json_object"} for any JSON object'
        )
        raise InvalidRequestError(msg) from error


def response_format(schema: Any) -> dict[str, Any]:
    """The `response_format` that asks for a schema, JSON-able as caches and traces need it.

    Raises:
        InvalidRequestError: It is no schema.
    """
    made = json_schema(schema)
    return {"type": "json_schema", "json_schema": {"name": str(made.get("title", "answer")), "schema": made}}


def check_method(method: str, schema: Any, tools: Any) -> None:
    """Refuse a method of `with_structured_output` that is not there, and what does not go with it.

    Raises:
        InvalidRequestError: As said.
    """
    if method not in METHODS:
        msg = f"method={method!r} must be one of {', '.join(METHODS)}"
        raise InvalidRequestError(msg)
    if schema is None and method != "json_mode":
        msg = f"schema=None leaves nothing to ask for with method={method!r}; pass a schema, or method='json_mode'"
        raise InvalidRequestError(msg)
    if tools and method != "json_schema":
        msg = f"tools go with method='json_schema' only, not with method={method!r}; leave one of them out"
        raise InvalidRequestError(msg)


def tool_name(schema: Any) -> str:
    """The name of the tool that a schema is offered as with `method="function_calling"`."""
    return str(convert_to_openai_tool(schema)["function"]["name"])


def parser(schema: Any, method: str) -> Runnable[Any, Any]:
    """What makes a message into an instance of the schema: an object of a Pydantic class, else a dict."""
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling" and pydantic:
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    if method == "function_calling":
        return JsonOutputKeyToolsParser(key_name=tool_name(schema), first_tool_only=True)
    whole: BaseGenerationOutputParser[Any] | Any = PydanticOutputParser(pydantic_object=schema) if pydantic else None
    return whole or JsonOutputParser()


def unless_called(parse: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """A parser that gives None for a message that calls tools instead of answering."""

    def route(message: AIMessage) -> Any:
        return None if message.tool_calls else parse

    return RunnableLambda(route)


def with_raw(model: Runnable[Any, Any], parse: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The message, what it parses to and the error if it does not, as a dict with `raw`, `parsed`, `parsing_error`."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parse, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
