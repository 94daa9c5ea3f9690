"""Grades in what a judging model says: as text, as log-probabilities, as next tokens of a policy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.text.thinking import thought_end

if TYPE_CHECKING:
    from langchain_darwin.policies.base import Codec, Proposal

_MOST_GRADES = 101


@dataclass(frozen=True)
class Scale:
    """Whole grades from `low` to `high`."""

    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse a scale of nothing."""
        whole = all(type(end) is int for end in (self.low, self.high))
        if not whole or not 1 <= self.high - self.low < _MOST_GRADES:
            message = f"scale=({self.low!r}, {self.high!r}) must be two whole numbers, the second larger by 1 to 100"
            raise ConfigurationError(message)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"

    def holds(self, grade: float) -> bool:
        """Return True if it is on the scale."""
        return self.low <= grade <= self.high

    def find(self, text: str) -> re.Match[str] | None:
        """The grade that a reply gives: the match of its number, or None if that is not clear.

        A clear grade is the first of these that is found. It may be the last number called a score, rating or grade
        ("Score: 7", '{"score": 7}'). The last one out of the highest grade ("7/10"). The only number that there is.
        The scale itself ("from 1 to 10"), which models like to repeat, does not count, nor does thinking.
        """
        text = self._blanked(text)
        number = ("(?P<grade>-?" if self.low < 0 else "(?<!-)(?P<grade>") + r"\d+(?:[.,]\d+)?)"
        named = rf"\b(?:score|rating|grade)\W{{0,12}}?(?:(?:is|of|would be)\W{{1,6}}?)?{number}(?![\w%])"
        of_highest = rf"(?<![\w.,]){number}\W{{0,3}}(?:/|out of)\W{{0,3}}{self.high}(?!\w)"
        for pattern in (named, of_highest):
            if found := list(re.finditer(pattern, text, re.IGNORECASE)):
                return found[-1] if self.holds(grade_in(found[-1])) else None
        alone = list(re.finditer(rf"(?<![\w.,]){number}(?!\w)", text))
        if len({match["grade"] for match in alone}) == 1 and self.holds(grade_in(alone[0])):
            return alone[0]
        return None

    def expectation(self, content: Sequence[Mapping[str, Any]]) -> float | None:
        """Expected grade over the alternatives to the token that is the grade, or None if it is not one token.

        Args:
            content: `logprobs["content"]` as OpenAI's API gives it: tokens with their `top_logprobs`.
        """
        match = self.find("".join(str(entry["token"]) for entry in content))
        entry = None if match is None else _entry_at(content, match.start("grade"))
        if match is None or entry is None or _bare(entry["token"]) != match["grade"]:
            return None
        seen = {str(other["token"]): other["logprob"] for other in [entry, *entry.get("top_logprobs", ())]}
        grades = [(_bare(token), math.exp(logprob)) for token, logprob in seen.items()]
        on_scale = [(int(token), chance) for token, chance in grades if self._is_grade(token)]
        return _mean(on_scale) if on_scale else None

    def _is_grade(self, token: str) -> bool:
        return re.fullmatch(r"-?\d+", token) is not None and self.holds(int(token))

    def _blanked(self, text: str) -> str:
        """The text with its thoughts and mentions of the scale made white space of the same length."""
        thought = thought_end(text)
        text = " " * thought + text[thought:]
        mention = rf"(?<![\w.-]){self.low}\s*(?:-|\u2013|to|and|through)\s*{self.high}(?!\w)"
        return re.sub(mention, lambda match: " " * len(match[0]), text, flags=re.IGNORECASE)


def grade_in(match: re.Match[str]) -> float:
    """The number of a match of `Scale.find`."""
    return float(match["grade"].replace(",", "."))


class Spellings:
    """The grades of a scale as token ids of a policy, and how likely each is as its next text.

    A grade may be several tokens (many tokenizers have one per digit). So the policy is asked for the next token
    after every beginning of a grade. "1" counts only as far as it is not the beginning of "10".

    Attributes:
        beginnings: What the policy must be asked to continue: token ids to put behind the prompt; () is first.
        next_tokens: Every token that goes on with some beginning.
    """

    def __init__(self, scale: Scale, codec: Codec) -> None:
        texts = {f"{space}{grade}": grade for grade in range(scale.low, scale.high + 1) for space in ("", " ")}
        self._grades = {codec.encode_text(text): grade for text, grade in texts.items()}
        ends = {tokens[:cut] for tokens in self._grades for cut in range(len(tokens))}
        self.beginnings = sorted(ends, key=lambda tokens: (len(tokens), tokens))
        self.next_tokens = sorted({token for tokens in self._grades for token in tokens})

    def expectation(self, proposals: Sequence[Proposal]) -> float:
        """Expected grade, given the policy's proposals after each beginning in turn."""
        chances = {
            (*beginning, token): math.exp(logprob)
            for beginning, proposal in zip(self.beginnings, proposals, strict=True)
            for token, logprob in zip(proposal.tokens, proposal.logprobs, strict=True)
        }
        weighed = [(grade, self._chance(tokens, chances)) for tokens, grade in self._grades.items()]
        return _mean(weighed)

    def _chance(self, tokens: tuple[int, ...], chances: Mapping[tuple[int, ...], float]) -> float:
        """Probability of the tokens in turn, and then of nothing that makes another grade of them."""
        reached = math.prod(chances[tokens[: cut + 1]] for cut in range(len(tokens)))
        longer = {other[: len(tokens) + 1] for other in self._grades if other[: len(tokens)] == tokens != other}
        return reached * max(0.0, 1.0 - sum(chances[other] for other in longer))


def _mean(weighed: Sequence[tuple[int, float]]) -> float:
    """Mean grade by probability; rounding may leave no probability at all, then by none."""
    total = math.fsum(chance for _, chance in weighed)
    if not total:
        return math.fsum(grade for grade, _ in weighed) / len(weighed)
    return math.fsum(grade * chance for grade, chance in weighed) / total


def _entry_at(content: Sequence[Mapping[str, Any]], at: int) -> Mapping[str, Any] | None:
    """The token that the character `at` of the joined tokens is in."""
    for begin, entry in _placed(content):
        if begin <= at < begin + len(str(entry["token"])):
            return entry
    return None


def _placed(content: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    begin = 0
    for entry in content:
        yield begin, entry
        begin += len(str(entry["token"]))


def _bare(token: Any) -> str:
    return str(token).strip().strip("*\"'")
