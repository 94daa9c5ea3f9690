"""JSON Schemas of everything that users pass as a schema or a tool: classes, types, functions, dicts.

LangChain's converters replace each reference by what it refers to, so a class that refers to itself loses its
recursion. For such a class the schema is pydantic's own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, NewType, get_origin

from langchain_core.tools import BaseTool
from langchain_core.tools.base import create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from typing_extensions import TypeAliasType, is_typeddict

from langchain_darwin.dialects.schemas.recursion import is_recursive, whole
from langchain_darwin.dialects.schemas.wrapping import is_object, wrapped
from langchain_darwin.errors import InvalidRequestError, first_line
from langchain_darwin.policies.grammar.enforceable import enforceable

SCHEMA_WORDS = frozenset({"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})

NOT_A_TOOL = (ValueError, TypeError, KeyError, AttributeError, NameError, PydanticUserError, RecursionError)
"""Errors that converters raise for what is no schema and no tool."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def json_schema(schema: Any) -> Mapping[str, Any]:
    """Return the JSON Schema of a Pydantic class, another type, a TypedDict, a function, or a JSON Schema.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if isinstance(schema, Mapping) and SCHEMA_WORDS & schema.keys():
        return schema
    try:
        made = type_schema(schema) or _recursive_schema(schema) or convert_to_json_schema(schema)
        if not SCHEMA_WORDS & made.keys():
            raise ValueError("any value would do")
    except NOT_A_TOOL as error:
        msg = (
            f"the output schema {schema!r} is neither a Pydantic class nor a TypedDict, another type or a JSON Schema: "
            f'{first_line(error)}; pass one, or {{"type": "json_object"}} for any JSON object'
        )
        raise InvalidRequestError(msg) from error
    return made


def checked(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a JSON Schema that some value can follow.

    Raises:
        InvalidRequestError: It is not a JSON Schema, or no value can follow it.
    """
    try:
        from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
    except ImportError:  # without it, nothing is enforced either
        return schema
    older = (Draft7Validator, Draft4Validator)
    wrong = next(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema), None)
    if wrong is not None and not any(kind(kind.META_SCHEMA).is_valid(schema) for kind in older):
        msg = f"the output schema {str(schema)[:200]} is not a JSON Schema: {wrong.message}; correct it"
        raise InvalidRequestError(msg)
    enforceable(schema)
    return schema


def adapter(schema: Any) -> TypeAdapter[Any] | None:
    """Return what makes values of a type that is neither a Pydantic class nor a TypedDict; None for anything else."""
    of_pydantic = isinstance(schema, type) and (is_basemodel_subclass(schema) or is_typeddict(schema))
    is_type = isinstance(schema, type | TypeAliasType | NewType) or get_origin(schema) is not None
    if of_pydantic or not is_type:
        return None
    try:
        return TypeAdapter(schema)
    except PydanticUserError:
        return None


def type_schema(schema: Any) -> dict[str, Any] | None:
    """Return the JSON Schema of a type that `adapter` takes; None for anything else."""
    found = adapter(schema)
    if found is None:
        return None
    name = getattr(schema, "__name__", "") if isinstance(schema, type) else ""
    own = whole(found.json_schema())
    return {**({"title": name} if name else {}), **own}


def definition(tool: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool, function, class or schema as a definition in OpenAI's form.

    Raises:
        ValueError: It is none of these, or a `TypeError`.
    """
    made = _of_other_providers(tool) if isinstance(tool, Mapping) else None
    if made is None and (own := _recursive_schema(tool)):
        made = _function(tool, own)
    found = convert_to_openai_tool(tool if made is None else made, strict=strict)
    if found.get("type") == "function" and not isinstance((found.get("function") or {}).get("name"), str):
        raise ValueError("it has no name")
    return found


def output_tool(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Return the tool that a schema is offered as; a schema of something else than objects is put into one.

    Raises:
        InvalidRequestError: It is no schema.
    """
    made = dict(checked(json_schema(schema)))
    name = _UNSAFE.sub("_", str(made.pop("title", None) or "answer"))[:64].strip("_") or "answer"
    described = {"description": made.pop("description")} if "description" in made else {}
    parameters = made if is_object(made) else wrapped(made)
    return convert_to_openai_tool({"name": name, **described, "parameters": parameters}, strict=strict)


def traced_schema(schema: Any) -> Any:
    """Return a schema in a form that LangChain writes into traces; it raises for some types."""
    converts = adapter(schema) is None and _recursive_schema(schema) is None
    return schema if converts else output_tool(schema)["function"]


def _of_other_providers(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the function of a definition in a form that LangChain does not read; None for others.

    These are OpenAI's form for its Responses API, without `function`, and the Model Context Protocol's `inputSchema`.
    """
    flat = tool.get("type") == "function" and "function" not in tool
    if not (flat or "inputSchema" in tool) or not isinstance(tool.get("name"), str):
        return None
    words = {word: tool[word] for word in ("name", "description", "strict") if word in tool}
    return {**words, "parameters": tool.get("parameters") or tool.get("inputSchema") or {"type": "object"}}


def _function(tool: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name, description and parameters of a tool whose schema is known."""
    parameters = {word: value for word, value in own.items() if word not in ("title", "description")}
    name = tool.name if isinstance(tool, BaseTool) else own.get("title") or tool.__name__
    described = tool.description if isinstance(tool, BaseTool) else own.get("description", "")
    return {"name": name, "description": described, "parameters": parameters}


def _recursive_schema(schema: Any) -> dict[str, Any] | None:
    """Return the own schema of a class, function or tool that refers to itself; None for any other."""
    try:
        own = _own_schema(schema)
    except NOT_A_TOOL:
        return None
    return whole(own) if own is not None and is_recursive(own) else None


def _own_schema(schema: Any) -> dict[str, Any] | None:
    if isinstance(schema, BaseTool):
        arguments = schema.tool_call_schema
        return arguments if isinstance(arguments, dict) else _own_schema(arguments)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    if is_typeddict(schema):
        described = {"description": doc} if (doc := inspect.getdoc(schema)) else {}
        return {"title": schema.__name__, **described, **TypeAdapter(schema).json_schema()}
    if inspect.isroutine(schema):
        model = create_schema_from_function(schema.__name__, schema, parse_docstring=True, include_injected=False)
        return {**_own_schema(model), "title": schema.__name__}  # type: ignore[dict-item]
    return None
