"""Output formats: the schema of an answer, the words that tell it to the model, and the parser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    BaseGenerationOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.json_schema import dereference_refs
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_darwin.dialects.plain_text import with_system_text
from langchain_darwin.dialects.schemas.conversion import (
    SCHEMA_WORDS,
    adapter,
    checked,
    json_schema,
    output_tool,
)
from langchain_darwin.dialects.schemas.recursion import is_recursive
from langchain_darwin.dialects.schemas.wrapping import WRAPPED, is_object
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.base import Conversation

Method = Literal["json_schema", "function_calling", "json_mode"]
METHODS = ("json_schema", "function_calling", "json_mode")

_ANY_OBJECT = {"type": "object", "additionalProperties": True}


@dataclass(frozen=True)
class OutputFormat:
    """A JSON Schema that the whole answer must follow; `told` is False if it says no more than "an object"."""

    schema: Mapping[str, Any]
    told: bool = True

    @property
    def text(self) -> str:
        """The schema as JSON."""
        return json.dumps(self.schema, ensure_ascii=False)

    def instruct(self, conversation: Conversation) -> Conversation:
        """Return the conversation with the format told in its system turn."""
        if not self.told:
            return with_system_text(conversation, "Answer with a JSON object and nothing else.")
        words = f"Answer with JSON and nothing else. It must follow this JSON Schema:\n{self._readable()}"
        return with_system_text(conversation, words)

    def _readable(self) -> str:
        """Return the schema as text, with references replaced by what they refer to where that is finite."""
        if is_recursive(self.schema):
            return self.text
        try:
            plain = {key: value for key, value in dereference_refs(dict(self.schema)).items() if key != "$defs"}
            return json.dumps(plain, ensure_ascii=False)
        except (KeyError, ValueError, RecursionError):
            return self.text


def output_format(value: Any) -> OutputFormat | None:
    """Return the format that a `response_format` asks for.

    Args:
        value: None, a class or another type, a JSON Schema, or a dict in one of three forms. They are those of
            OpenAI's chat completions, of OpenAI's responses, and of servers that give `json_object` a `schema`.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if not isinstance(value, Mapping):
        return None if value is None else OutputFormat(json_schema(value))
    kind, named = value.get("type"), value.get("json_schema", value.get("schema"))
    if kind == "text":
        return None
    if kind == "json_object" and named is None:
        return OutputFormat(_ANY_OBJECT, told=False)
    if kind in ("json_schema", "json_object") or (named is not None and not SCHEMA_WORDS & value.keys()):
        value = named["schema"] if isinstance(named, Mapping) and "schema" in named else named
    return OutputFormat(json_schema(value))


def response_format(schema: Any) -> dict[str, Any]:
    """Return the `response_format` that asks for a schema, JSON-able as caches and traces need it.

    Raises:
        InvalidRequestError: It is no schema, or no value can follow it.
    """
    made = checked(json_schema(schema))
    return {"type": "json_schema", "json_schema": {"name": str(made.get("title", "answer")), "schema": made}}


def check_method(method: str, schema: Any, tools: Any) -> None:
    """Refuse a method of `with_structured_output` that does not exist, and arguments that it does not take.

    Raises:
        InvalidRequestError: The method, or one of the arguments, is refused.
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


def parser(schema: Any, method: str) -> Runnable[Any, Any]:
    """Return what makes a message into a value of the schema: an instance of a class, else what JSON holds."""
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    objects = schema is None or is_object(json_schema(schema))
    if adapter(schema) is not None or not objects:
        return _value_parser(schema, method, wrapped=not objects)
    if method == "function_calling":
        name = output_tool(schema)["function"]["name"]
        if not pydantic:
            return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        if name != (getattr(schema, "model_config", {}).get("title") or schema.__name__):
            return _value_parser(schema, method, wrapped=False)
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    whole: BaseGenerationOutputParser[Any] | Any = PydanticOutputParser(pydantic_object=schema) if pydantic else None
    return whole or JsonOutputParser()


def _value_parser(schema: Any, method: str, *, wrapped: bool) -> Runnable[Any, Any]:
    """Return the parser of a schema that LangChain's parsers do not know: not of objects, or of a type."""
    made = adapter(schema)
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)

    def parse(message: AIMessage) -> Any:
        if method == "function_calling" and not message.tool_calls:
            return None
        try:
            value = _written(message, method, wrapped=wrapped)
            if pydantic:
                return schema.model_validate(value)
            return value if made is None else made.validate_json(json.dumps(value))
        except (ValueError, KeyError) as error:
            msg = f"the answer does not follow the schema: {error}"
            raise OutputParserException(msg, llm_output=message.text) from error

    return RunnableLambda(parse)


def _written(message: AIMessage, method: str, *, wrapped: bool) -> Any:
    """Return the JSON value that a message holds."""
    if method != "function_calling":
        return json.loads(message.text)
    arguments = message.tool_calls[0]["args"]
    return arguments[WRAPPED] if wrapped else arguments


def unless_called(parse: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return a parser that gives None for a message that calls tools instead of answering."""

    def route(message: AIMessage) -> Any:
        return None if message.tool_calls else parse

    return RunnableLambda(route)


def with_raw(model: Runnable[Any, Any], parse: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return a runnable of dicts: `raw` is the message, `parsed` its value, `parsing_error` None or the error."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parse, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
