"""Random schemas, and random texts that their grammars let through: each text ends, parses and validates.

DARWIN_FUZZ is the number of schemas, 150 unless set.
"""

from __future__ import annotations

import json
import os

import jsonschema
import pytest

pytest.importorskip("xgrammar")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_darwin.policies.base import Constraint
from langchain_darwin.policies.grammar.enforceable import enforceable
from tests.noise import Noise
from tests.schema_strategies import schemas

EXAMPLES = int(os.environ.get("DARWIN_FUZZ", "150"))
SPARE = 40  # tokens beyond those of the shortest text that is known
NOISE = Noise.tiny()

fuzz = settings(
    max_examples=EXAMPLES,
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


@fuzz
@given(schemas, st.integers(0, 1000))
def test_every_text_of_a_grammar_follows_its_schema(schema, seed):
    found = enforceable(schema)
    assert found.dropped == ()
    value = json.loads(text_of(Constraint("json_schema", json.dumps(schema)), seed))
    jsonschema.validate(value, schema)
