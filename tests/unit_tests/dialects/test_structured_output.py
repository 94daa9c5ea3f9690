"""Structured output: formats, instructions, parsers, and what is asked of the policy."""

from __future__ import annotations

import json
from typing import TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.structured_output import output_format
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.base import Constraint
from langchain_darwin.testing import ScriptedPolicy


class Place(BaseModel):
    """A place."""

    name: str
    height: int = Field(description="metres")


class Walk(BaseModel):
    """A walk from place to place."""

    start: Place
    end: Place | None = None


class Hill(TypedDict):
    """A hill."""

    name: str


SCHEMA = {"title": "Hill", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
GAUSTA = '{"name": "Gausta", "height": 1883}'
CALL = f'<tool_call>\n{{"name": "Place", "arguments": {GAUSTA}}}\n</tool_call>'


class Recording(ScriptedPolicy):
    """A scripted policy that keeps what it was asked."""

    def submit(self, jobs, on_tokens=None):
        self.respond.jobs.extend(jobs)
        return super().submit(jobs, on_tokens)


class Script:
    def __init__(self, answer):
        self.answer, self.jobs, self.prompts = answer, [], []

    def __call__(self, conversation, tools):
        self.prompts.append(conversation)
        return self.answer


def chat(answer, **settings):
    script = Script(answer)
    return script, ChatDarwin(
        **{"model": Recording(script), "search": BestOfN(n=1), "reward": zero, "seed": 1, **settings}
    )


def zero(messages, responses):
    return [0.0] * len(responses)


def asked(script):
    """The constraint of the first job."""
    return script.jobs[0].sampling.constraint


class TestFormats:
    @pytest.mark.parametrize(
        "value",
        [
            SCHEMA,
            {"type": "json_schema", "json_schema": {"name": "Hill", "schema": SCHEMA}},
            {"type": "json_schema", "json_schema": {"name": "Hill", "schema": SCHEMA, "strict": True}},
        ],
    )
    def test_json_schemas(self, value):
        assert output_format(value).schema == SCHEMA

    def test_classes(self):
        assert output_format(Place).schema == convert_to_json_schema(Place)
        assert output_format(Hill).schema["properties"] == {"name": {"type": "string"}}

    @pytest.mark.parametrize("value", [None, {"type": "text"}])
    def test_none(self, value):
        assert output_format(value) is None

    def test_any_object(self):
        assert output_format({"type": "json_object"}).schema == {"type": "object", "additionalProperties": True}

    @pytest.mark.parametrize(
        "value", [3, "Place", {}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}]
    )
    def test_what_is_none_of_these_is_refused(self, value):
        with pytest.raises(InvalidRequestError, match="neither a Pydantic class nor"):
            output_format(value)

    def test_references_are_resolved_for_the_reader(self):
        [system, _] = output_format(Walk).instruct([{"role": "user", "content": "hi"}])
        assert "$ref" not in system["content"]
        assert system["content"].count("metres") == 2

    def test_a_recursive_schema_is_told_as_it_is(self):
        schema = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}}
        [system, _] = output_format(schema).instruct([{"role": "user", "content": "hi"}])
        assert '"t"' in system["content"]


class TestCalls:
    @pytest.mark.parametrize("method", ["json_schema", "json_mode"])
    def test_json(self, method):
        script, model = chat(GAUSTA)
        answer = model.with_structured_output(Place, method=method).invoke(
            [SystemMessage("Be brief."), HumanMessage("A hill?")]
        )
        assert answer == Place(name="Gausta", height=1883)
        assert asked(script).kind == "json_schema"
        assert script.prompts[0].startswith("system: Be brief.\n\nAnswer with ")

    def test_the_schema_is_enforced_and_told(self):
        script, model = chat(GAUSTA)
        model.with_structured_output(Place).invoke("A hill?")
        assert asked(script) == Constraint("json_schema", json.dumps(convert_to_json_schema(Place)))
        assert '"description": "metres"' in script.prompts[0]

    def test_function_calling(self):
        script, model = chat(CALL)
        answer = model.with_structured_output(Place, method="function_calling").invoke("A hill?")
        assert answer == Place(name="Gausta", height=1883)
        assert asked(script).kind == "structural_tag"
        assert "Answer with JSON" not in script.prompts[0]

    @pytest.mark.parametrize("schema", [Hill, SCHEMA])
    def test_dicts_for_what_is_no_pydantic_class(self, schema):
        _, model = chat('{"name": "Gausta"}')
        assert model.with_structured_output(schema).invoke("A hill?") == {"name": "Gausta"}
        _, model = chat(CALL.replace("Place", "Hill"))
        assert model.with_structured_output(schema, method="function_calling").invoke("A hill?")["name"] == "Gausta"

    def test_json_mode_needs_no_schema(self):
        _, model = chat('{"any": [1]}')
        assert model.with_structured_output(method="json_mode").invoke("A hill?") == {"any": [1]}

    @pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
    def test_raw(self, method):
        _, model = chat("Sorry.")
        result = model.with_structured_output(Place, method=method, include_raw=True).invoke("A hill?")
        assert (result["raw"].text, result["parsed"]) == ("Sorry.", None)
        assert (result["parsing_error"] is None) == (method == "function_calling")  # no call is no error there
        _, model = chat(CALL if method == "function_calling" else GAUSTA)
        result = model.with_structured_output(Place, method=method, include_raw=True).invoke("A hill?")
        assert (result["parsed"], result["parsing_error"]) == (Place(name="Gausta", height=1883), None)

    def test_a_wrong_answer_raises_without_raw(self):
        _, model = chat("Sorry.")
        with pytest.raises(OutputParserException):
            model.with_structured_output(Place).invoke("A hill?")

    def test_tools_beside_the_schema(self):
        def look(at: str) -> str:
            """Look."""
            return at

        script, model = chat('<tool_call>\n{"name": "look", "arguments": {"at": "map"}}\n</tool_call>')
        structured = model.with_structured_output(Place, tools=[look], include_raw=True)
        result = structured.invoke("A hill?")
        assert (result["parsed"], result["raw"].tool_calls[0]["args"]) == (None, {"at": "map"})
        assert json.loads(asked(script).grammar)["format"]["type"] == "or"
        _, model = chat(GAUSTA)
        assert model.with_structured_output(Place, tools=[look]).invoke("A hill?") == Place(name="Gausta", height=1883)

    def test_min_tokens_does_not_stand_in_the_way(self):
        script, model = chat(GAUSTA, min_tokens=50)
        model.with_structured_output(Place).invoke("A hill?")
        assert script.jobs[0].sampling.min_tokens == 0

    def test_the_search_picks_among_answers(self):
        script = Script(None)
        script.answer = [GAUSTA, GAUSTA.replace("1883", "2469")]
        model = ChatDarwin(model=Recording(script), search=BestOfN(n=2), reward=height, seed=1)
        assert model.with_structured_output(Place).invoke("A hill?").height == 2469

    def test_a_stream_gives_growing_dicts(self):
        _, model = chat('{"name": "Gausta"}')
        assert list(model.with_structured_output(SCHEMA).stream("A hill?"))[-1] == {"name": "Gausta"}

    def test_traces_get_the_schema(self):
        _, model = chat(GAUSTA)
        bound = model.with_structured_output(Place).first
        assert bound.kwargs["ls_structured_output_format"]["schema"] is Place

    def test_two_schemas_have_two_cache_keys(self):
        _, model = chat(GAUSTA)
        one, other = (model.with_structured_output(schema).first.kwargs for schema in (Place, Walk))
        assert model._get_llm_string(response_format=one["response_format"]) != model._get_llm_string(
            response_format=other["response_format"]
        )


class TestRefusals:
    def test_an_unknown_method(self):
        with pytest.raises(InvalidRequestError, match="json_schema, function_calling, json_mode"):
            ChatDarwin().with_structured_output(Place, method="json")

    def test_no_schema(self):
        with pytest.raises(InvalidRequestError, match="schema=None"):
            ChatDarwin().with_structured_output(None)

    def test_tools_with_another_method(self):
        with pytest.raises(InvalidRequestError, match="tools go with"):
            ChatDarwin().with_structured_output(Place, method="function_calling", tools=[height])

    def test_no_class(self):
        with pytest.raises(InvalidRequestError, match="neither a Pydantic class nor"):
            ChatDarwin().with_structured_output(3)


def height(messages, responses):
    """A reward: the height that an answer tells."""
    return [float(json.loads(response.text)["height"]) for response in responses]
