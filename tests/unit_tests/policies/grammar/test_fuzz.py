"""Random schemas, and random texts that their grammars let through: each text ends, parses and validates.

DARWIN_FUZZ is the number of schemas, 100 unless set; fewer are tried where one takes longer.
"""

from __future__ import annotations

import json
import os
import warnings

import jsonschema
import pytest

pytest.importorskip("xgrammar")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_darwin.dialects.formats import FORMATS
from langchain_darwin.dialects.response_reader import ResponseReader
from langchain_darwin.dialects.tool_use import tool_use
from langchain_darwin.policies.base import Constraint
from langchain_darwin.policies.grammar.enforceable import enforceable
from tests.noise import Noise
from tests.schema_strategies import dropped_words, plain_schemas, schemas

EXAMPLES = int(os.environ.get("DARWIN_FUZZ", "100"))
SPARE = 40  # tokens beyond those of the shortest text that is known
NOISE = Noise.tiny()


def fuzz(share=1):
    """Settings for one of `share` parts of the examples; the same examples in every run unless DARWIN_FUZZ is set."""
    return settings(
        max_examples=max(1, EXAMPLES // share),
        deadline=None,
        derandomize="DARWIN_FUZZ" not in os.environ,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def text_of(constraint, seed):
    """A random text within the tokens of the shortest one and a few more."""
    start = NOISE.matcher(constraint)
    least = start.shortest_completion()
    assert least is not None, "no way to complete it is known"
    matcher = start.fork()
    text = NOISE.drawn(matcher, len(least) + SPARE, seed)
    assert matcher.finished, f"stuck after {text!r}"
    return text


@fuzz()
@given(schemas, st.integers(0, 1000))
def test_every_text_of_a_grammar_follows_its_schema(schema, seed):
    found = enforceable(schema)
    assert found.dropped == ()
    value = json.loads(text_of(Constraint("json_schema", json.dumps(schema)), seed))
    jsonschema.validate(value, schema)


@fuzz(8)
@given(schemas, st.sampled_from(FORMATS), st.integers(0, 1000))
def test_arguments_of_calls_follow_their_schema_in_every_format(schema, written, seed):
    inner = {word: value for word, value in schema.items() if word != "$defs"}
    parameters = {"type": "object", "properties": {"x": inner}, "required": ["x"], "$defs": schema["$defs"]}
    use = tool_use({"tools": [{"name": "f", "parameters": parameters}], "tool_choice": "any"})
    text = text_of(use.constraint(written), seed)
    [call] = ResponseReader(written.template, use.tools)(text, True).tool_calls
    jsonschema.validate(call["args"], parameters)


@fuzz(5)
@given(plain_schemas, dropped_words, st.integers(0, 1000))
def test_words_that_are_not_enforced_are_named_and_the_text_still_ends(schema, dropped, seed):
    word, part = dropped
    whole = {
        "type": "object",
        "properties": {"a": schema, "b": {"type": "array", "items": part}},
        "required": ["a", "b"],
    }
    assert word in enforceable(whole).dropped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = json.loads(text_of(Constraint("json_schema", json.dumps(whole)), seed))
    jsonschema.validate(value["a"], schema)
