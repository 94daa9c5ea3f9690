"""Constrained texts that run out of tokens end validly, on every vocabulary: tool formats, patterns, thoughts.

Inherit from `ShortestCompletionContract` and give it a `noise` fixture.
"""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from langchain_darwin.dialects.formats import FORMATS, HERMES, QWEN_XML
from langchain_darwin.dialects.response_reader import ResponseReader
from langchain_darwin.dialects.tool_use import definitions, tool_use
from langchain_darwin.policies.base import Constraint
from tests.noise import Noise


def weather(city: str, days: int, unit: str = "c", note: str = "") -> None:
    """The weather of a city."""


TOOLS = definitions([weather])


def text(noise, constraint, limit, begin=""):
    """A text of random tokens that the grammar allows, without its end token."""
    matcher = noise.matcher(constraint)
    for token in noise.ids(begin):
        matcher.accept(token, limit - len(matcher.tokens) - 1)
    found = noise.drawn(matcher, limit, seed=limit)
    assert matcher.finished or matcher.complete
    return found


def shortest(noise, constraint):
    """The shortest text that is known for a grammar."""
    return noise.text(noise.grammars.new_matcher(noise.grammars.compile(constraint)).shortest_completion())


class ShortestCompletionContract:
    """Tests of completions on one vocabulary.

    Attributes:
        limits: Tokens that a text may have, just enough for any call and more.
        few: Tokens that are just enough for a call that was begun freely.
    """

    limits = (48, 80)
    few = 64

    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls) -> Noise:
        raise NotImplementedError

    @pytest.mark.parametrize("parallel", [None, True], ids=["one", "several"])
    @pytest.mark.parametrize("written", FORMATS, ids=lambda form: form.name)
    def test_forced_calls_of_every_format(self, noise, written, parallel):
        use = tool_use({"tools": TOOLS, "tool_choice": "any", "parallel_tool_calls": parallel})
        for limit in self.limits:
            reading = ResponseReader(written.template, TOOLS)(text(noise, use.constraint(written), limit), True)
            assert (bool(reading.tool_calls), reading.invalid_tool_calls, reading.text) == (True, (), "")
            for call in reading.tool_calls:
                jsonschema.validate(call["args"], TOOLS[0]["function"]["parameters"])

    @pytest.mark.parametrize("written", [HERMES, QWEN_XML], ids=lambda form: form.name)
    def test_a_call_that_was_begun_freely(self, noise, written):
        """No tool must be called, but a call that was begun is completed."""
        use = tool_use({"tools": TOOLS, "strict": True})
        begun = text(noise, use.constraint(written), self.few, begin="I will look.\n" + written.trigger)
        assert len(ResponseReader(written.template, TOOLS)(begun, True).tool_calls) == 1

    @pytest.mark.parametrize(
        ("pattern", "least"),
        [
            ("a*b", "b"),
            ("[a-z]{2,8}-[0-9]{3}", "aa-000"),
            ("([a-z]+,)*END", "END"),
            ("(yes|no)(, (yes|no)){3}", "no, no, no, no"),
            ("[0-9]{40}", "0" * 40),
        ],
    )
    def test_patterns(self, noise, pattern, least):
        self.check_pattern(noise, pattern, least)

    def check_pattern(self, noise, pattern, least):
        assert shortest(noise, Constraint("regex", pattern)) == least
        for limit in self.limits:
            assert re.fullmatch(pattern, text(noise, Constraint("regex", pattern), limit))

    def test_a_grammar_that_nests(self, noise):
        constraint = Constraint("ebnf", 'root ::= "yes" | "no" | "(" root ")"')
        assert shortest(noise, constraint) == "no"
        assert re.fullmatch(r"\(*(yes|no)\)*", text(noise, constraint, 48, begin="(" * 20))

    def test_patterns_within_json(self, noise):
        code = {"type": "string", "pattern": "^a*b$"}
        day, name = {"type": "string", "format": "date"}, {"type": "string", "minLength": 4}
        properties = {"code": code, "day": day, "name": name}
        schema = {"type": "object", "properties": properties, "required": [*properties]}
        for limit in self.limits:
            found = json.loads(text(noise, Constraint("json_schema", json.dumps(schema)), limit))
            jsonschema.validate(found, schema, format_checker=jsonschema.FormatChecker())

    def test_optional_parts_are_left_out(self, noise):
        use = tool_use({"tools": TOOLS, "tool_choice": "any"})
        least = shortest(noise, use.constraint(QWEN_XML))
        [call] = ResponseReader(QWEN_XML.template, TOOLS)(least, True).tool_calls
        assert call["args"] == {"city": "", "days": 0}

    def test_a_state_is_left_as_it_was(self, noise):
        matcher = noise.matcher(Constraint("regex", "ab*c"))
        matcher.accept(noise.ids("a")[0])
        assert matcher.shortest_completion() == matcher.shortest_completion() != ()
        assert not matcher.complete
