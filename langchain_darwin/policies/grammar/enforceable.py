"""JSON Schemas in the words that xgrammar enforces, and the words that it does not.

xgrammar drops some words without an error, and others where they are beside a reference or a choice. What can be
said in the words that it enforces is rewritten; the other words are named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.grammar.schema_merging import ContradictionError, both_of, merged, types_of, without
from langchain_darwin.policies.grammar.schema_references import References, has_finite_values
from langchain_darwin.policies.grammar.schema_words import ALL_TYPES, NUMBERS, ignored, modern, typed, written

_MOST_ALTERNATIVES = 64
_CHOICES = ("anyOf", "oneOf")
_COMBINING = frozenset({"$ref", "$dynamicRef", "allOf", *_CHOICES})
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
    | {"$id", "$anchor", "$dynamicAnchor", "$defs", "definitions", "discriminator"}
)


@dataclass(frozen=True)
class Enforceable:
    """A schema for xgrammar.

    Attributes:
        schema: What xgrammar compiles. A value that follows it follows the original, but for the dropped words.
        dropped: Words of the original that are not enforced, in order.
    """

    schema: Any
    dropped: tuple[str, ...] = ()


def enforceable(schema: Any) -> Enforceable:
    """Return a schema in the words that xgrammar enforces.

    Raises:
        InvalidRequestError: No value can follow the schema, or a reference names nothing.
    """
    rewriting = _Rewriting(schema)
    try:
        made = rewriting.whole()
    except ContradictionError as error:
        msg = f"no JSON value follows the schema {json.dumps(schema)[:200]}: {error}"
        raise InvalidRequestError(msg) from error
    return Enforceable(made, tuple(rewriting.dropped))


class _Rewriting:
    """One schema on its way."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._references = References(root)
        self._definitions: dict[str, Any] = {}
        self._reason = "its parts contradict one another"
        self.dropped: dict[str, None] = {}

    def whole(self) -> Any:
        """Return the rewritten schema, with the definitions that it refers to."""
        made = self._rewritten(self._root)
        if made is False:
            raise ContradictionError(self._reason)
        if not has_finite_values(made, self._definitions):
            raise ContradictionError("it refers to itself without an end")
        return {**made, "$defs": self._definitions} if self._definitions and isinstance(made, dict) else made

    def _rewritten(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        said = without(modern(schema), _ANNOTATIONS)
        if set(said) == {"$ref"}:
            return self._reference(said["$ref"])
        for word in _CHOICES:
            if set(said) == {word} and "discriminator" not in schema:
                return self._choice(word, said[word])
        options = self._possible(self._alternatives(schema, ()))
        return False if not options else options[0] if len(options) == 1 else {"anyOf": options}

    def _possible(self, alternatives: Sequence[dict[str, Any]]) -> list[Any]:
        """Return the alternatives that some value follows, rewritten."""
        found = []
        for alternative in alternatives:
            try:
                found.append(self._plain(alternative))
            except ContradictionError:
                if len(alternatives) == 1:
                    raise
        return found

    def _reference(self, ref: str) -> dict[str, Any]:
        if ref == "#":
            return {"$ref": "#"}
        target = self._target(ref)
        if target is None:
            return {}
        name = self._references.name(ref)
        if name not in self._definitions:
            self._definitions[name] = {}  # a recursive reference finds the name taken
            self._definitions[name] = self._rewritten(target)
        return {"$ref": f"#/$defs/{name}"}

    def _target(self, ref: str) -> Any:
        """Return what a reference names; None, and the word is named, if it is in another document."""
        target = self._references.target(ref)
        if target is None and ref.startswith("#"):
            msg = f"the schema's reference {ref!r} names nothing in it; define it under $defs"
            raise InvalidRequestError(msg)
        if target is None:
            self.dropped[f"$ref to {ref}"] = None
        return target

    def _choice(self, word: str, options: Sequence[Any]) -> Any:
        made = [option for option in map(self._rewritten, options) if option is not False]
        if word == "oneOf" and not self._disjoint(options):
            self.dropped["oneOf"] = None
        return {"anyOf": made} if made else False

    def _disjoint(self, options: Sequence[Any]) -> bool:
        """Return True if no value can follow two of the options."""
        facts = [self._alternatives(option, ()) for option in options]
        pairs = combinations(facts, 2)
        return all(_apart(one, other) for first, second in pairs for one in first for other in second)

    def _alternatives(self, schema: Any, path: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return schemas without choices and references at their top, of which a value must follow one.

        Args:
            schema: Any schema.
            path: References that are being followed.
        """
        if not isinstance(schema, Mapping):
            return [] if schema is False else [{}]
        said = modern(schema)
        found = [without(said, _COMBINING | _ANNOTATIONS)]
        for group in self._groups(said, path):
            found = [both for one in found for other in group if (both := self._both(one, other))]
        if len(found) > _MOST_ALTERNATIVES:
            self.dropped["anyOf"] = None
            return [without(said, _COMBINING | _ANNOTATIONS)]
        return found

    def _both(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
        """Return a schema that says what both say; None, and the reason is kept, if no value follows it."""
        try:
            return merged(one, other) or {"type": list(ALL_TYPES)}
        except ContradictionError as error:
            self._reason = str(error)
            return None

    def _groups(self, said: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
        """Yield the alternatives of each reference, each part of an `allOf` and each choice."""
        for word in ("$ref", "$dynamicRef"):
            if word in said:
                yield self._followed(said[word], path)
        for part in said.get("allOf", ()):
            yield self._alternatives(part, path)
        for word in _CHOICES:
            if word in said:
                options = [_tagged(option, said) for option in said[word]]
                if word == "oneOf" and not self._disjoint(options):
                    self.dropped["oneOf"] = None
                yield [each for option in options for each in self._alternatives(option, path)]

    def _followed(self, ref: str, path: tuple[str, ...]) -> list[dict[str, Any]]:
        if ref in path:  # it says nothing but itself
            return [{}]
        target = self._root if ref == "#" else self._target(ref)
        return [{}] if target is None else self._alternatives(target, (*path, ref))

    def _plain(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Rewrite a schema without choices and references at its top."""
        if "allOf" in schema:  # what could not be merged
            self.dropped.update((word, None) for part in schema["allOf"] for word in part)
            schema = without(schema, {"allOf"})
        if "enum" in schema or "const" in schema:
            return {"enum": self._valid_values(schema)}
        made = self._with_children(typed(schema))
        not_enforced = ignored(made)
        self.dropped.update((word, None) for word in not_enforced)
        return written(without(made, not_enforced))

    def _valid_values(self, schema: Mapping[str, Any]) -> list[Any]:
        """Return the values of an `enum` that follow all of its schema."""
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        if schema.keys() - {"enum"}:
            from jsonschema import Draft202012Validator

            anchor = {**self._root, "allOf": [], "$defs": {**self._root.get("$defs", {}), "\x00": dict(schema)}}
            bare = without(anchor, set(anchor) & (NUMBERS | {"type", "enum", "const", "not", "$ref", *_CHOICES}))
            checks = Draft202012Validator(bare).evolve(schema=dict(schema))
            values = [value for value in values if checks.is_valid(value)]
        if not values:
            raise ContradictionError("none of the values of its enum follows the rest of it")
        return values

    def _with_children(self, schema: dict[str, Any]) -> dict[str, Any]:
        made = dict(schema)
        if "object" in (types_of(made) or ()):
            made.update(self._object(made))
        for word in ("additionalProperties", "propertyNames", "items"):
            if word in made:
                made[word] = self._rewritten(made[word])
        if "prefixItems" in made:
            first = made["prefixItems"][: made.get("maxItems")]  # xgrammar refuses more
            made["prefixItems"] = [self._rewritten(each) for each in first]
        if "patternProperties" in made:
            made["patternProperties"] = {p: self._rewritten(each) for p, each in made["patternProperties"].items()}
        return made

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the words about named properties: impossible ones left out, required ones that are not named added."""
        properties = {name: self._rewritten(each) for name, each in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties", {})
        required = list(schema.get("required", ()))
        for name in required:
            if name not in properties:
                properties[name] = self._rewritten(others)
            if properties[name] is False:
                raise ContradictionError(f"the property {name!r} is required, and no value of it is allowed")
        possible = {name: each for name, each in properties.items() if each is not False}
        words: dict[str, Any] = {"properties": possible} if possible else {}
        if "properties" not in schema and required:
            words["additionalProperties"] = others if others != {} else True
        return {**({"properties": {}} if properties and not possible else {}), **words}


def _tagged(option: Any, schema: Mapping[str, Any]) -> Any:
    """Return an option of a choice whose discriminator must be there to tell it from the others."""
    discriminator = schema.get("discriminator")
    name = discriminator.get("propertyName") if isinstance(discriminator, Mapping) else None
    return both_of(option, {"required": [name]}) if name else option


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return True if it is certain that no value follows both."""
    try:
        both = merged(one, other)
    except ContradictionError:
        return True
    shared = {*one.get("required", ()), *other.get("required", ())}
    return any(_contradictory(both.get("properties", {}).get(name)) for name in shared)


def _contradictory(schema: Any) -> bool:
    """Return True if it is certain that no value follows a schema."""
    if schema is False:
        return True
    parts = schema.get("allOf", ()) if isinstance(schema, Mapping) else ()
    if len(parts) != 2 or not all(isinstance(part, Mapping) for part in parts):
        return False
    try:
        merged(*({**part, **({"enum": [part["const"]]} if "const" in part else {})} for part in parts))
    except ContradictionError:
        return True
    return False
