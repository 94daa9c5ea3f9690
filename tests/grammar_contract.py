"""What grammars promise on every vocabulary: inherit from `GrammarContract` and give it a `noise` fixture."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Iterator

import jsonschema
import pytest
import torch

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.base import Constraint
from tests.noise import Noise

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["happy", "sad", None]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "home": {
            "type": "object",
            "properties": {
                "street": {"type": "string", "minLength": 3},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            },
            "required": ["street", "zip"],
        },
        "note": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
    },
    "required": ["name", "age", "mood", "tags", "home"],
}  # fmt: skip

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children"],
        }
    },
}

SCHEMAS = [
    PERSON,
    TREE,
    {"type": "object"},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"type": "string"},
    {"type": "array", "items": {"type": "string", "minLength": 4, "maxLength": 20}, "minItems": 2, "maxItems": 3},
    {"allOf": [{"properties": {"é": {"type": "integer"}}, "required": ["é"]}, {"required": ['a"\\\n']}]},
    {"enum": ["日本", "😀\u2028", "a\nb\u0001", 'say "no"']},
    {"type": "string", "pattern": '^"é+\\\\\n$'},
    {"$defs": {"A b/c": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/A%20b~1c"}, "minItems": 1},
]


def schema(value):
    return Constraint("json_schema", json.dumps(value))


class GrammarContract:
    """Tests of grammars on one vocabulary.

    Attributes:
        limits: Tokens that a JSON text may have, too few for most texts that noise begins.
    """

    limits = (64, 120)

    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls) -> Noise:
        raise NotImplementedError

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _one_thread(cls) -> Iterator[None]:
        """Threads only wait for one another in sums this small."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    @pytest.mark.parametrize("value", SCHEMAS)
    def test_json_always_parses_and_validates(self, noise, value):
        for limit, seed in itertools.product(self.limits, range(3)):
            matcher = noise.matcher(schema(value))
            text = noise.drawn(matcher, limit, seed)
            assert matcher.finished, text
            jsonschema.validate(json.loads(text), value)

    def test_json_is_written_as_json_dumps_writes_it(self, noise):
        text = noise.drawn(noise.matcher(schema(PERSON)), self.limits[-1], seed=3)
        assert [line.strip() for line in text.splitlines()] == [text]
        assert text.startswith('{"name": "')

    def test_words_that_are_not_enforced_are_named_once(self, noise):
        values = schema({"type": "array", "items": {"type": "integer", "not": {"const": 3}}, "uniqueItems": True})
        with pytest.warns(UserWarning, match="words 'not', 'uniqueItems' are not enforced"):
            noise.grammars.compile(values)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            noise.grammars.compile(values)

    def test_schemas_of_calls_are_rewritten_too(self, noise):
        parts = [{"required": [name], "properties": {name: {"type": "integer"}}} for name in "ab"]
        content = {"type": "json_schema", "json_schema": {"allOf": parts}}
        tag = {"type": "tag", "begin": "<call>", "content": content, "end": "</call>"}
        text = noise.drawn(noise.matcher(Constraint("structural_tag", json.dumps({"format": tag}))), 100)
        assert json.loads(text.removeprefix("<call>").removesuffix("</call>")).keys() == {"a", "b"}

    def test_special_tokens_do_not_pass_for_text(self, noise):
        special = noise.tokenizer.added_tokens_decoder
        in_text = noise.matcher(schema({"type": "string", "minLength": 3}))
        in_text.accept(noise.tokenizer.convert_tokens_to_ids('"'))
        named = noise.matcher(Constraint("regex", f"{special[3].content}x"))
        allowed = noise.allowed_ids(in_text, named)
        assert [[token for token in row if token in special] for row in allowed] == [[], [3]]

    def test_a_regex_holds(self, noise):
        for seed in range(5):
            matcher = noise.matcher(Constraint("regex", "[a-z]{2,8}-[0-9]{3}"))
            assert re.fullmatch("[a-z]{2,8}-[0-9]{3}", noise.drawn(matcher, 64, seed))

    def test_an_ebnf_grammar_holds(self, noise):
        text = noise.drawn(noise.matcher(Constraint("ebnf", 'root ::= "yes" | "no" | "(" root ")"')), 64)
        assert re.fullmatch(r"\(*(yes|no)\)*", text)

    def test_a_structural_tag_holds_with_bounded_whitespace(self, noise):
        content = {"type": "json_schema", "json_schema": PERSON}
        tag = {"type": "tag", "begin": "<tool_call>\n", "content": content, "end": "\n</tool_call>"}
        constraint = Constraint("structural_tag", json.dumps({"type": "structural_tag", "format": tag}))
        text = noise.drawn(noise.matcher(constraint), 200)
        body = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
        jsonschema.validate(json.loads(body, strict=False), PERSON)  # a street of a given length may hold a tab
        spaced = noise.matcher(constraint)
        for token in noise.ids('<tool_call>\n{"name":'):
            spaced.accept(token)
        [space] = noise.ids(" ")
        spaced.accept(space)
        with pytest.raises(InvalidRequestError, match="does not follow the structural_tag"):
            spaced.accept(space)

    def test_tokens_already_decoded_are_replayed_forked_or_rolled_back(self, noise):
        compiled = noise.grammars.compile(schema(PERSON))
        tokens = noise.ids('{"name": "Ada", "age": 36')
        noise.grammars.matcher(compiled, tokens)

        def replay(ids):
            matcher = noise.grammars.new_matcher(compiled)
            for token in ids:
                matcher.accept(token)
            return matcher

        for ids in (tokens, tokens[:-4], [*tokens[:-4], *tokens[-4:-2]]):
            found = noise.grammars.matcher(compiled, ids)
            assert found.tokens == list(ids)
            assert noise.mask(found).equal(noise.mask(replay(ids)))

    def test_a_known_beginning_is_not_replayed(self, noise, monkeypatch):
        compiled = noise.grammars.compile(schema({"type": "string"}))
        tokens = noise.ids('"one two three four')
        noise.grammars.matcher(compiled, tokens)
        monkeypatch.setattr("langchain_darwin.policies.grammar.matcher.Matcher.accept", None)
        assert noise.grammars.matcher(compiled, tokens).tokens == tokens

    def test_rows_without_matcher_may_draw_anything(self, noise):
        texts = noise.tokenizer.batch_decode([[token] for token in range(noise.vocabulary)])
        yes = noise.matcher(Constraint("regex", "yes"))
        free, bound, also_free = noise.allowed_ids(None, yes, None)
        assert free == also_free == [*range(noise.vocabulary)]
        assert bound == [token for token, text in enumerate(texts) if text in ("y", "ye", "yes")]

    def test_compiled_once(self, noise):
        assert noise.grammars.compile(schema(TREE)) is noise.grammars.compile(schema(TREE))

    @pytest.mark.parametrize(("kind", "text"), [
        ("json_schema", '{"type": "wat"}'), ("json_schema", "nope"), ("regex", "("), ("ebnf", "root ::= x"),
        ("structural_tag", '{"a": 1}'), ("structural_tag", "x"),
    ])  # fmt: skip
    def test_what_cannot_be_read_is_named(self, noise, kind, text):
        with pytest.raises(InvalidRequestError, match=f"the {kind} {re.escape(repr(text))} cannot be enforced: .+"):
            noise.grammars.compile(Constraint(kind, text))
