"""Grammars that responses follow from their first token on, enforced by xgrammar's token masks."""

from __future__ import annotations

import functools
import json
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from langchain_darwin.errors import InvalidRequestError, MissingDependencyError, first_line
from langchain_darwin.policies.grammar.enforceable import Enforceable, enforceable
from langchain_darwin.policies.grammar.matcher import CompiledGrammar, Matcher
from langchain_darwin.policies.grammar.shortest_completion import Bounds, ShortestCompletions, tag_ends
from langchain_darwin.runtime.prefixes import shared_length

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from langchain_darwin.policies.base import Constraint

_KEPT_GRAMMARS = 64
_KEPT_MATCHERS = 128
_WORD = 32  # tokens per word of a mask
_CONTROL = re.compile(rb"[\x00-\x1f]")
_UNWRITTEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # but for tabs and line breaks


class Grammars:
    """Compiled grammars and matcher states of one model's vocabulary.

    `compile` is safe in any thread; matchers belong to one thread.

    Args:
        tokenizer: The model's tokenizer.
        vocab_size: Width of the model's logits.
        end_ids: Token ids that end a response; a grammar allows them once it is complete.

    Raises:
        MissingDependencyError: xgrammar is not installed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, end_ids: frozenset[int]) -> None:
        self.vocab_size = vocab_size
        self.end_ids = sorted(end_ids)
        self._xgrammar = _import_xgrammar()
        info = self._xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocab_size, stop_token_ids=self.end_ids or None
        )
        self._compiler = self._xgrammar.GrammarCompiler(info)
        self._lock = threading.RLock()
        self._compiled: OrderedDict[Constraint, CompiledGrammar] = OrderedDict()
        self._matchers: OrderedDict[int, Matcher] = OrderedDict()
        pieces: list[bytes] = info.decoded_vocab
        added = tokenizer.added_tokens_decoder.items()
        self._special = {i: token.content for i, token in added if token.special and i < vocab_size}
        self._control = [i for i, piece in enumerate(pieces[:vocab_size]) if _CONTROL.search(piece)]
        self._unwritten = [i for i in self._control if _UNWRITTEN.search(pieces[i])]
        eos = tokenizer.eos_token_id
        end = eos if eos in end_ids else next(iter(self.end_ids), None)
        self._completions = ShortestCompletions(pieces, end, functools.partial(self._bitmask, 1))

    def compile(self, constraint: Constraint) -> CompiledGrammar:
        """Return the constraint's grammar, cached.

        JSON is written as `json.dumps` does: one space after a comma or colon and no other. Small models
        otherwise fill their answers with the whitespace that JSON allows. Objects take only the properties that
        their schema names, unless it names none or allows more. A structural tag allows one whitespace character
        between elements, since models are trained on several ways to write calls.

        Raises:
            InvalidRequestError: xgrammar cannot read it.
        """
        with self._lock:
            known = self._compiled.get(constraint)
            if known is None:
                grammar = self._compile(constraint)
                bounds = Bounds(self._usable(constraint), tag_ends(constraint))
                known = CompiledGrammar(constraint, grammar, bounds)
                self._compiled[constraint] = known
            self._compiled.move_to_end(constraint)
            _drop_oldest(self._compiled, _KEPT_GRAMMARS)
        return known

    def matcher(self, compiled: CompiledGrammar, response_ids: Sequence[int]) -> Matcher:
        """Return a matcher after `response_ids`: a fork of the one that shares most, and a replay of the rest.

        Raises:
            InvalidRequestError: `response_ids` do not follow the grammar.
        """
        wanted = list(response_ids)
        with self._lock:
            nearest, common = None, 0
            for other in reversed(self._matchers.values()):
                shared = shared_length(other.tokens, wanted) if other.compiled is compiled else 0
                nearest, common = (other, shared) if shared > common else (nearest, common)
            made = self.new_matcher(compiled) if nearest is None else nearest.fork(common)
            for token in wanted[common:]:
                made.accept(token)
            self._matchers[id(made)] = made
            _drop_oldest(self._matchers, _KEPT_MATCHERS)
        return made

    def allowed(self, matchers: Sequence[Matcher | None]) -> torch.Tensor:
        """Return the tokens that each row may draw next, as bits of int32 `[rows, vocabulary / 32]`.

        A row without a matcher may draw all of them.
        """
        bits = self._bitmask(len(matchers))
        for row, matcher in enumerate(matchers):
            if matcher is not None:
                matcher.fill(bits, row)
        return bits

    def allows(self, matcher: Matcher, token: int) -> bool:
        """Return True if a text may go on with a token."""
        return token < self.vocab_size and bool(self.allowed([matcher])[0, token // _WORD] >> (token % _WORD) & 1)

    def allowed_ids(self, matcher: Matcher) -> tuple[int, ...]:
        """Return all tokens that a text may go on with, in order."""
        bits = np.unpackbits(self.allowed([matcher])[0].numpy().view(np.uint8), bitorder="little")
        return tuple(np.flatnonzero(bits[: self.vocab_size]).tolist())

    def new_matcher(self, compiled: CompiledGrammar) -> Matcher:
        """Return a matcher before the first token."""
        return Matcher(compiled, self._xgrammar.GrammarMatcher(compiled.grammar), self._completions)

    def _compile(self, constraint: Constraint) -> Any:
        compilers: dict[str, Callable[[str], Any]] = {
            "json_schema": lambda text: self._compiler.compile_json_schema(_enforced(text), any_whitespace=False),
            "regex": self._compiler.compile_regex,
            "ebnf": self._compiler.compile_grammar,
            "structural_tag": lambda text: self._compiler.compile_structural_tag(_enforced_tag(text)),
        }
        try:
            return compilers[constraint.kind](constraint.grammar)
        except InvalidRequestError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            cause = first_line(error).split(": ", 1)[-1]
            msg = f"the {constraint.kind} {constraint.grammar[:200]!r} cannot be enforced: {cause}"
            raise InvalidRequestError(msg) from error

    def _usable(self, constraint: Constraint) -> torch.Tensor:
        """Return the mask of all tokens, less those that xgrammar wrongly lets into JSON strings.

        Special tokens are left out unless the grammar names them. In xgrammar they match by their spelling, but they
        would vanish from the text when it is decoded. Control characters are left out of JSON, which must escape
        them. In a structural tag, all but tabs and line breaks are left out. A string with a `minLength` or
        `maxLength` allows them in xgrammar.
        """
        usable = torch.ones(-(-self.vocab_size // _WORD) * _WORD, dtype=torch.bool)
        if constraint.kind == "json_schema":  # it is one line; a tag may have lines, and text with tabs
            usable[self._control] = False
        elif constraint.kind == "structural_tag":
            usable[self._unwritten] = False
        for token, content in self._special.items():
            usable[token] = token in self.end_ids or content in constraint.grammar
        words = usable.view(-1, _WORD).to(torch.int64) << torch.arange(_WORD)
        return words.sum(dim=1).to(torch.int32)

    def _bitmask(self, rows: int) -> torch.Tensor:
        """Return an all-true mask, int32 `[rows, vocabulary / 32]`."""
        return torch.full((rows, -(-self.vocab_size // _WORD)), -1, dtype=torch.int32)


def _import_xgrammar() -> Any:
    try:
        import xgrammar
    except ImportError as error:
        msg = 'schemas, grammars and forced tool calls need xgrammar: pip install "langchain-darwin[tools]"'
        raise MissingDependencyError(msg) from error
    return xgrammar


def _enforced(schema: str) -> str:
    """Return a JSON Schema in the words that xgrammar enforces; warn of the others."""
    return json.dumps(_warned(enforceable(json.loads(schema))))


def _warned(found: Enforceable) -> Any:
    if found.dropped:
        msg = (
            f"the schema's words {', '.join(map(repr, found.dropped))} are not enforced while decoding; answers are "
            "checked against them, and those that follow them win"
        )
        warnings.warn(msg, stacklevel=2)
    return found.schema


def _enforced_tag(tag: str) -> str:
    """Return a structural tag with such schemas, whose JSON has at most one whitespace character in a row."""
    return json.dumps(_with_schemas(json.loads(tag)))


def _with_schemas(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_schemas(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "json_schema" and "json_schema" in value:
        schema = _warned(enforceable(value["json_schema"]))
        return {"max_whitespace_cnt": 1, **value, "json_schema": schema}
    return {key: _with_schemas(item) for key, item in value.items()}


def _drop_oldest(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
