"""Rewards that follow a rule and need no model: frozen dataclasses, instant, the same every time.

Each says what it gives to text that is still being written. A search compares such text with other unfinished
text of about the same length. So a rule must be fair among prefixes, not between them and finished answers.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.base import is_unfinished
from langchain_darwin.rewards.json_text import may_become_json, parse_json, validator
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

Unit = Literal["words", "characters", "sentences", "lines", "tokens"]

# A word is a run of letters and digits; Chinese characters and Japanese kana count one each.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+(?:['\u2019-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)|[\u3002\uff01\uff1f]+")


class Rule:
    """A rule for one response, asked once per response."""

    partial: ClassVar[bool] = True

    def __call__(self, _messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response; the conversation plays no part."""
        return [self._score(response) for response in responses]

    @abstractmethod
    def _score(self, response: AIMessage) -> float: ...


@dataclass(frozen=True)
class LengthWindow(Rule):
    """1 for a length from `low` to `high`, less outside; in (-inf, 1].

    With the length n: `n / low` below the window, `1 - (n - high) / high` above it (negative beyond twice
    `high`). Unfinished text below the window gets 1, because it can still grow; above it the same as finished
    text.

    Attributes:
        low: Shortest length with the full score.
        high: Longest length with the full score, or None for any.
        unit: "words" (Chinese and Japanese: characters), "characters", "sentences", "lines" (without empty
            ones), or "tokens" of the policy.
    """

    low: int = 0
    high: int | None = None
    unit: Unit = "words"

    def __post_init__(self) -> None:
        """Refuse an empty window."""
        check_range("low", self.low, low=0)
        if self.high is not None:
            check_range("high", self.high, low=max(self.low, 1))
        if self.unit not in ("words", "characters", "sentences", "lines", "tokens"):
            message = f"unit={self.unit!r} must be words, characters, sentences, lines or tokens"
            raise ConfigurationError(message)

    def _score(self, response: AIMessage) -> float:
        length = length_of(response, self.unit)
        if length < self.low:
            return 1.0 if is_unfinished(response) else length / self.low
        if self.high is not None and length > self.high:
            return 1.0 - (length - self.high) / self.high
        return 1.0


@dataclass(frozen=True)
class Matches(Rule):
    """1 if the regular expression is found in the text, else 0; `(-1, Matches(...))` forbids it.

    Unfinished text gets 1 as soon as the expression is found, 0 until then; `full=True` judges finished text only.

    Attributes:
        regex: As for Python's `re`; write flags into it: `(?i)` ignores case.
        full: The whole text, without white space around it, must match, and not only a part.
    """

    regex: str
    full: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not a regular expression."""
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ConfigurationError(f"regex={self.regex!r} is not a regular expression: {error}") from None

    @property
    def partial(self) -> bool:  # type: ignore[override]
        """True if a prefix can be judged."""
        return not self.full

    def _score(self, response: AIMessage) -> float:
        if self.full:
            return float(re.fullmatch(self.regex, response.text.strip()) is not None)
        return float(re.search(self.regex, response.text) is not None)


@dataclass(frozen=True)
class ValidJson(Rule):
    """1 for JSON that follows the schema, `1 / (1 + violations)` if it does not, 0 for text that is not JSON.

    Unfinished text gets 1 while it can still become JSON and 0 once it cannot; the schema is left to the end.
    Text around the JSON, a code fence for example, makes it invalid.

    Attributes:
        schema: A JSON Schema (draft 2020-12) or a Pydantic class, or None for any JSON. Needs `jsonschema`.
    """

    schema: Any = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Refuse what is not a schema."""
        if hasattr(self.schema, "model_json_schema"):
            object.__setattr__(self, "schema", self.schema.model_json_schema())
        if self.schema is not None:
            validator(self.schema)

    def _score(self, response: AIMessage) -> float:
        if is_unfinished(response):
            return float(may_become_json(response.text))
        try:
            value = parse_json(response.text)
        except ValueError:
            return 0.0
        if self.schema is None:
            return 1.0
        return 1.0 / (1 + sum(1 for _ in validator(self.schema).iter_errors(value)))


@dataclass(frozen=True)
class Keywords(Rule):
    """Share of `words` that occur, minus the share of `forbidden` words that do; in [-1, 1].

    Without `words` the first share is 1. Case does not count. Words are found whole in scripts with spaces
    between words and upper and lower case, anywhere in the text in others. Unfinished text is judged the same
    way, by what is there so far.

    Attributes:
        words: Words or phrases that should occur.
        forbidden: Words or phrases that should not.
    """

    words: Sequence[str] = ()
    forbidden: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse a bare string, whose letters would each count as a word."""
        for name in ("words", "forbidden"):
            given = getattr(self, name)
            if isinstance(given, str) or not all(isinstance(word, str) and word.strip() for word in given):
                raise ConfigurationError(f"{name}={given!r} must be a sequence of words, such as ('rain', 'sun')")
            object.__setattr__(self, name, tuple(given))
        if not self.words and not self.forbidden:
            raise ConfigurationError("Keywords() gives every text the same score; pass words or forbidden words")

    def _score(self, response: AIMessage) -> float:
        text = response.text
        wanted = _share_found(self.words, text) if self.words else 1.0
        return wanted - (_share_found(self.forbidden, text) if self.forbidden else 0.0)


@dataclass(frozen=True)
class RepetitionPenalty(Rule):
    """Minus the share of n-grams of words that repeat an earlier one; in [-1, 0], 0 without repetition.

    `-(1 - distinct n-grams / n-grams)`: minus seq-rep-n of Welleck et al., arXiv 1908.04319. Case does not
    count. Unfinished text is judged the same way. The share grows with the length of any text: compare
    texts of about one length, or give it a small weight.

    Attributes:
        n: Words in an n-gram. Welleck et al.: 4.
    """

    n: int = 3

    def __post_init__(self) -> None:
        """Refuse n-grams of nothing."""
        check_range("n", self.n, low=1)

    def _score(self, response: AIMessage) -> float:
        words = _WORD.findall(response.text.casefold())
        grams = [tuple(words[at : at + self.n]) for at in range(len(words) - self.n + 1)]
        return len(set(grams)) / len(grams) - 1.0 if grams else 0.0


@dataclass(frozen=True)
class NoRefusal(Rule):
    """0 for an answer that begins with a refusal in English, else 1.

    Looks for set phrases ("I cannot", "I'm sorry, but", "As an AI") in the first 150 characters. Compare the keyword
    list of Zou et al., arXiv 2307.15043. Refusals come early, so unfinished text is judged the same way.
    """

    def _score(self, response: AIMessage) -> float:
        return float(_REFUSAL.search(response.text[:150].replace("\u2019", "'")) is None)


@dataclass(frozen=True)
class Complete(Rule):
    """1 for an answer that ended by itself, 0 for one cut off at a limit; judges no unfinished text."""

    partial: ClassVar[bool] = False

    def _score(self, response: AIMessage) -> float:
        return float(response.response_metadata.get("finish_reason", "stop") not in ("length", "timeout", None))


_REFUSAL = re.compile(
    r"\bI(?:'m| am) (?:so |very |really )?sorry,? (?:but\b|I\b)"
    r"|\bI apologi[sz]e,? but\b"
    r"|\b(?:unfortunately,? )?I (?:cannot|can't|can not|could not|won't|will not|must decline|must refuse)\b"
    r"|\bI(?:'m| am) (?:unable|not (?:able|allowed|permitted|programmed|comfortable|going)) (?:to|with)\b"
    r"|\bI do(?: not|n't) feel comfortable\b"
    r"|\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bit(?:'s| is) (?:not appropriate|against my)\b",
    re.IGNORECASE,
)


def length_of(response: AIMessage, unit: Unit) -> int:
    """Return the length of a response; "tokens" are those of the policy."""
    text = response.text
    if unit == "words":
        return len(_WORD.findall(text))
    if unit == "characters":
        return len(text)
    if unit == "sentences":
        return len(_SENTENCE_END.findall(text))
    if unit == "lines":
        return sum(1 for line in text.splitlines() if line.strip())
    return int(response.response_metadata["tokens"])


def _share_found(words: Sequence[str], text: str) -> float:
    return sum(1 for word in words if _occurs(word, text)) / len(words)


def _occurs(word: str, text: str) -> bool:
    if word.lower() == word.upper() and not word.isascii():  # a script without case: no spaces to rely on
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
