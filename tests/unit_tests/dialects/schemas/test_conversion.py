"""JSON Schemas of classes, types, functions and dicts; tools of other providers; recursion."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any, Literal, NamedTuple

import pytest
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.schemas.conversion import definition, json_schema, output_tool
from langchain_darwin.dialects.schemas.recursion import is_recursive
from langchain_darwin.dialects.tool_use import definitions, tool_use
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.testing import ScriptedPolicy


class Node(BaseModel):
    """A node of a tree."""

    value: int
    kids: list[Node] = []


class Folder(BaseModel):
    files: list[File] = []


class File(BaseModel):
    name: str
    within: Folder | None = None


class Branch(TypedDict):
    """A branch."""

    length: int
    twigs: list[Branch]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    label: str = ""


class Pair(NamedTuple):
    left: int
    right: str


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(alias="nineLives")


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


class Numbers(RootModel[list[int]]):
    pass


INT = {"type": "integer"}
TREE = '{"value": 1, "kids": [{"value": 2, "kids": []}]}'
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}


def grow(node: Node, by: int = 1) -> None:
    """Grow a tree.

    Args:
        node: the tree
        by: how far
    """


def chat(answer, **settings):
    def respond(conversation, tools):
        return answer

    def reward(messages, responses):
        return [0.0] * len(responses)

    return ChatDarwin(model=ScriptedPolicy(respond), search=BestOfN(n=1), reward=reward, seed=1, **settings)


def call(name, value):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(value)}}}\n</tool_call>'


class TestRecursion:
    @pytest.mark.parametrize("schema", [Node, Folder, File, Branch])
    def test_classes_keep_it(self, schema):
        found = json_schema(schema)
        assert (found["type"], found["title"], is_recursive(found)) == ("object", schema.__name__, True)

    @pytest.mark.parametrize("of", [Node, grow, tool(grow), Branch])
    def test_tools_keep_it(self, of):
        found = definition(of)["function"]
        name = getattr(of, "__name__", None) or of.name
        assert (found["name"], is_recursive(found["parameters"])) == (name, True)
        assert definitions([definition(of)]) == [definition(of)]

    def test_descriptions_stay(self):
        found = definition(grow)["function"]
        assert found["description"] == "Grow a tree."
        assert found["parameters"]["properties"]["node"] == {"$ref": "#/$defs/Node", "description": "the tree"}
        assert json_schema(Node)["description"] == "A node of a tree."

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_instances_come_back(self, method):
        answer = call("Node", json.loads(TREE)) if method == "function_calling" else TREE
        found = chat(answer).with_structured_output(Node, method=method).invoke("A tree?")
        assert found == Node(value=1, kids=[Node(value=2)])

    def test_it_is_told_to_the_model(self):
        [system, _] = tool_use({"response_format": Node}).instruct([{"role": "user", "content": "hi"}])
        assert '"$ref": "#/$defs/Node"' in system["content"]

    def test_strict_asks_for_every_property_at_every_depth(self):
        parameters = output_tool(Node, strict=True)["function"]["parameters"]
        assert parameters["required"] == parameters["$defs"]["Node"]["required"] == ["value", "kids"]

    @pytest.mark.parametrize(
        ("schema", "recursive"),
        [
            ({"$ref": "#"}, True),
            ({"$defs": {"A": INT}, "$ref": "#/$defs/A"}, False),
            ({"$defs": {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"$ref": "#/$defs/A"}}}, True),
            ({"$defs": {"A": {"items": {"$ref": "#/$defs/B"}}, "B": INT}, "$ref": "#/$defs/A"}, False),
        ],
    )
    def test_what_is_recursive(self, schema, recursive):
        assert is_recursive(schema) is recursive

    def test_other_classes_are_converted_as_langchain_does(self):
        assert json_schema(Owner) == convert_to_json_schema(Owner)


VALUES = [
    (list[int], "[1, 2]", [1, 2]),
    (int | None, "null", None),
    (int | str, '"a"', "a"),
    (Literal["a", 2], "2", 2),
    (Color, '"blue"', Color.BLUE),
    (Pair, '[1, "b"]', Pair(1, "b")),
    (list[Node], f"[{TREE}]", [Node(value=1, kids=[Node(value=2)])]),
    (Branch, '{"length": 1, "twigs": []}', {"length": 1, "twigs": []}),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (tuple[int, str], '[1, "b"]', (1, "b")),
    (Point, '{"x": 1, "label": "```"}', Point(1, "```")),
    (Point | Node, '{"value": 1}', Node(value=1)),
    (Numbers, "[1]", Numbers([1])),
    (Owner, '{"pet": {"kind": "cat", "nineLives": 9}}', Owner(pet=Cat(nineLives=9))),
    (bool, "true", True),
    ({"type": "array", "items": INT}, "[1, 2]", [1, 2]),
    ({"type": "string"}, '"a"', "a"),
    ({"anyOf": [INT, {"type": "null"}]}, "null", None),
    ({"type": "object", "properties": {"a": INT}}, '{"a": 1}', {"a": 1}),
    ({"title": "A point", **PARAMETERS}, '{"city": "Oslo"}', {"city": "Oslo"}),
]


class TestForms:
    @pytest.mark.parametrize(("schema", "written", "value"), VALUES)
    def test_answers_in_json(self, schema, written, value):
        assert chat(written).with_structured_output(schema).invoke("?") == value

    @pytest.mark.parametrize(("schema", "written", "value"), VALUES)
    def test_answers_by_a_call(self, schema, written, value):
        function = output_tool(schema)["function"]
        arguments = json.loads(written)
        if set(function["parameters"].get("properties", ())) == {"value"}:
            arguments = {"value": arguments}
        answer = call(function["name"], arguments)
        assert chat(answer).with_structured_output(schema, method="function_calling").invoke("?") == value

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_a_wrong_answer_is_a_parsing_error(self, method):
        answer = call("answer", {"value": "x"}) if method == "function_calling" else '"x"'
        model = chat(answer).with_structured_output(list[int], method=method, include_raw=True)
        found = model.invoke("?")
        assert (found["parsed"], type(found["parsing_error"]).__name__) == (None, "OutputParserException")

    def test_no_call_is_no_error(self):
        model = chat("Sorry.").with_structured_output(list[int], method="function_calling", include_raw=True)
        assert model.invoke("?")["parsing_error"] is None

    @pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "wat"},
            {"type": "object", "properties": 3},
            {"type": "object", "required": "a"},
            {"$ref": "#/$defs/Nothing"},
            {"allOf": [INT, {"type": "string"}]},
            {"type": "string", "minLength": "3"},
            {"enum": []},
            3,
            "Place",
            {},
            object,
            Any,
        ],
    )
    def test_bad_schemas_are_refused_at_once(self, schema, method):
        with pytest.raises(InvalidRequestError, match="schema"):
            ChatDarwin().with_structured_output(schema, method=method)

    def test_references_move_with_what_is_wrapped(self):
        schema = {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "array", "items": {"$ref": "#"}}], "$defs": {"N": INT}}
        assert output_tool(schema)["function"] == {
            "name": "answer",
            "parameters": {
                "type": "object",
                "properties": {
                    "value": {
                        "anyOf": [{"$ref": "#/$defs/N"}, {"type": "array", "items": {"$ref": "#/properties/value"}}]
                    }
                },
                "required": ["value"],
                "$defs": {"N": INT},
            },
        }


class TestTools:
    @pytest.mark.parametrize(
        "given",
        [
            {"type": "function", "function": WEATHER},
            WEATHER,
            {"type": "function", **WEATHER},
            {"name": "weather", "description": "The weather.", "input_schema": PARAMETERS},
            {"type": "custom", "name": "weather", "description": "The weather.", "input_schema": PARAMETERS},
            {"name": "weather", "description": "The weather.", "inputSchema": PARAMETERS},
            {"toolSpec": {**WEATHER, "inputSchema": {"json": PARAMETERS}}},
            {"title": "weather", "description": "The weather.", **PARAMETERS},
        ],
    )
    def test_definitions_of_other_providers(self, given):
        assert definition(given) == {"type": "function", "function": WEATHER}

    @pytest.mark.parametrize(
        "given", [{"type": "function"}, {"type": "function", "function": {}}, {"input_schema": PARAMETERS}, {}, 3, None]
    )
    def test_what_has_no_name_is_refused(self, given):
        with pytest.raises(InvalidRequestError, match="is not a tool"):
            ChatDarwin().bind_tools([given])

    def test_a_strict_tool_is_enforced(self):
        assert tool_use({"tools": [{"type": "function", "function": {**WEATHER, "strict": True}}]}).strict
        assert not tool_use({"tools": [WEATHER]}).strict


class TestResponseFormats:
    @pytest.mark.parametrize(
        "value",
        [
            PARAMETERS,
            {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS, "strict": True}},
            {"type": "json_schema", "json_schema": {"schema": PARAMETERS, "strict": False}},
            {"type": "json_schema", "json_schema": PARAMETERS},
            {"type": "json_schema", "name": "a", "schema": PARAMETERS, "strict": True},
            {"type": "json_object", "schema": PARAMETERS},
            {"name": "a", "schema": PARAMETERS},
            {"json_schema": {"name": "a", "schema": PARAMETERS}},
        ],
    )
    def test_spellings(self, value):
        assert tool_use({"response_format": value}).output.schema == PARAMETERS

    @pytest.mark.parametrize("value", [Node, {"type": "json_schema", "json_schema": Node}])
    def test_classes(self, value):
        assert tool_use({"response_format": value}).output.schema == json_schema(Node)
        assert chat(TREE).invoke("?", response_format=value).text == TREE
