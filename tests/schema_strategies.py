"""Random JSON Schemas of the words that the grammar enforces, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "id", "a b", 'say "x"', "back\\slash", "line\nbreak", "é", "日本", "😀", "type", "$ref", "not", ""]
"""Names of properties: plain, quoted, with escapes, beyond ASCII, and words of JSON Schema."""

DEFINITIONS: dict[str, Any] = {
    "Tree": {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
        "required": ["value", "kids"],
    },
    "List": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/List"}, {"type": "null"}]}},
        "required": ["next"],
    },
    "odd ~name/é": {"enum": ["é", 'a"b', "c\\d", "e\nf\u0001", 1.5, None, True, [1], {"x": "y"}]},
}
"""Definitions that schemas refer to: recursive ones, and one whose name needs escapes."""

REFERENCES = ["#/$defs/Tree", "#/$defs/List", "#/$defs/odd%20~0name~1%C3%A9"]

_PATTERNS = ["^[a-c]+$", "^\\d{3}-[A-Z]{2}$", 'x"y', "^a\\\\b$", "^é\\n+$", "^(yes|no)?$", "^[^a-z]{2}$", "^\\u65e5"]
_FORMATS = ["date", "date-time", "uuid", "email", "ipv6", "uri", "hostname"]


@st.composite
def _bounds(draw: st.DrawFn, least: str, most: str, low: int, high: int) -> dict[str, int]:
    """None, one or both of two bounds, in order."""
    first, second = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    return {**draw(st.sampled_from([{}, {least: first}])), **draw(st.sampled_from([{}, {most: second}]))}


def _with(kind: str, *parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {"type": kind, **{k: v for part in found for k, v in part.items()}})


_leaves = st.one_of(
    st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]),
    _with("string", _bounds("minLength", "maxLength", 0, 6)),
    st.sampled_from(_PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.sampled_from(_FORMATS).map(lambda name: {"type": "string", "format": name}),
    _with("integer", _bounds("minimum", "maximum", -50, 5000)),
    _with("number", _bounds("minimum", "exclusiveMaximum", -4, 4).filter(lambda d: len(set(d.values())) == len(d))),
    st.integers(2, 9).map(lambda step: {"type": "integer", "multipleOf": step}),
    st.lists(st.sampled_from(DEFINITIONS["odd ~name/é"]["enum"]), min_size=1, max_size=4).map(lambda v: {"enum": v}),
    st.sampled_from(["const", 'q"', "日\t", 0, -2.5, False, None, [], {"a": [None]}]).map(lambda v: {"const": v}),
    st.lists(st.sampled_from(["string", "integer", "null", "boolean"]), min_size=2, max_size=3, unique=True).map(
        lambda kinds: {"type": kinds}
    ),
)
_references = st.sampled_from(REFERENCES).map(lambda ref: {"$ref": ref})


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    made: dict[str, Any] = {"type": "object", "properties": {name: draw(inner) for name in names}}
    if names:
        made["required"] = draw(st.lists(st.sampled_from(names), max_size=len(names), unique=True))
    more = draw(st.sampled_from(["silent", "closed", "closed", "open", "typed"]))
    others = {"closed": False, "open": True, "typed": {"type": "boolean"}}
    return made if more == "silent" else {**made, "additionalProperties": others[more]}


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "array", "items": draw(inner), **draw(_bounds("minItems", "maxItems", 0, 3))}
    first = draw(st.lists(inner, max_size=2))
    return {**made, "prefixItems": first} if first else made


@st.composite
def _joined(draw: st.DrawFn, inner: st.SearchStrategy[Any], *, refers: bool) -> dict[str, Any]:
    """Objects that say parts of what they say by `allOf`, `anyOf` or a reference beside other words."""
    parts = [draw(_objects(inner)) for _ in range(2)]
    for place, part in enumerate(parts):  # other names in each part, so that they do not contradict one another
        part["properties"] = {f"{name}{place}": each for name, each in part["properties"].items()}
        part["required"] = [f"{name}{place}" for name in part.get("required", ())]
        part.pop("additionalProperties", None)
    one, other = parts
    forms = [{"allOf": parts}, {**one, "allOf": [other]}, {**one, "anyOf": [other, {"required": ["z"]}]}]
    return draw(st.sampled_from([*forms, {"$ref": "#/$defs/Tree", **one}] if refers else forms))


def _schemas(leaves: st.SearchStrategy[Any], *, refers: bool) -> st.SearchStrategy[dict[str, Any]]:
    def inner(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        choices = st.lists(children, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
        return st.one_of(_objects(children), _arrays(children), choices, _joined(children, refers=refers))

    return st.recursive(leaves, inner, max_leaves=6)


schemas = _schemas(st.one_of(_leaves, _references), refers=True).map(lambda schema: {**schema, "$defs": DEFINITIONS})
plain_schemas = _schemas(_leaves, refers=False)
"""The same without references."""

dropped_words = st.sampled_from(
    [
        ("uniqueItems", {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        ("contains", {"type": "array", "items": {"type": "integer"}, "contains": {"const": 3}}),
        ("not", {"type": "string", "not": {"const": "a"}}),
        ("multipleOf", {"type": "number", "multipleOf": 0.5}),
        ("maxLength", {"type": "string", "format": "date", "maxLength": 3}),
        ("pattern", {"type": "string", "pattern": "^(?=a)b*$"}),
        ("oneOf", {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        ("dependentRequired", {"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}}),
        ("if", {"type": "integer", "if": {"minimum": 3}, "then": {"maximum": 5}}),
    ]
)
"""Words that no grammar enforces, each with a schema that has it."""
