"""The check that a rewritten instruction still asks for the same: a comparison of words, without a model.

It refuses too much rather than too little: a refused rewriting costs one beam its variety, a drifted one the
answer its point. Word lists are English; in other languages the checks that need them pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_LITERAL = re.compile(
    r"""https?://[^\s)>\]]+ | [\w.+-]+@[\w-]+\.[\w.]+ | `[^`\n]+` | "[^"\n]+" | “[^”\n]+” | «[^»\n]+»
    | (?<!\w)'[^'\n]+'(?!\w) | \u2018[^\u2019\n]+\u2019(?!\w) | \[[^\]\n]+\] | <+[^<>\n]+>+ | \{[^{}\n]*\}""",
    re.VERBOSE,
)
_QUOTED = "\"'`“«\u2018"
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNT = {word: str(number) for number, word in enumerate(_COUNTS, start=2)}
_NEGATION = re.compile(
    r"\b(?:not|no|never|without|none|nor|neither|avoid|except|cannot)\b|n['\u2019]t\b", re.IGNORECASE
)
_REWRITING = re.compile(r"\b(?:rewritten|rewrit(?:e|ing)|rephrase\w*|reword\w*|instructions?|prompts?)\b")
_ASKING = re.compile(
    r"""(?:please|kindly|as\ an?|acting|imagine|suppose|let|i\ (?:want|need|would|am\ looking)|i'd|help|tell
    |show|what|when|where|which|who|whose|why|how|in\ what|are|is|do|does|did|can|could|would|will|should
    |act|analy[sz]e|answer|argue|break|brainstorm|build|calculate|check|choose|classify|come\ up|compare
    |complete|compose|compute|continue|convert|correct|craft|create|critique|debate|define|describe|design|determine
    |develop|discuss|draft|draw|edit|elaborate|estimate|evaluate|examine|expand|explain|explore|extract|fill|find
    |fix|formulate|generate|give|guide|highlight|identify|illustrate|implement|improve|interpret|introduce|list
    |make|name|offer|organi[sz]e|outline|paraphrase|pick|plan|predict|prepare|present|produce|propose|prove
    |provide|put|rank|read|recommend|rephrase|respond|reply|review|revise|rewrite|select|share|shorten|simplify
    |solve|sort|state|suggest|summari[sz]e|take|teach|think|translate|try|turn|use|walk\ me|write)\b""",
    re.VERBOSE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_SPACELESS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"  # Thai, Lao, Japanese, Chinese: a letter is a word
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W\d_{_SPACELESS}]+")
_COMMON = re.compile(
    r"""a|about|all|also|an|and|any|are|as|ask|at|be|been|but|by|can|clear|clearly|could|create|describe|detail
    |detailed|details|did|do|does|each|explain|explanation|for|from|get|give|given|go|had|has|have|help|her|his
    |how|i|if|in|into|is|it|its|just|know|let|like|list|look|make|may|me|might|more|most|my|need|of|on|or|our|out
    |please|provide|say|see|should|show|simple|so|some|specific|step|steps|such|tell|than|that|the|their|them
    |then|there|these|they|things|this|those|to|up|us|use|using|want|was|way|ways|we|well|were|what|when|where
    |which|who|why|will|with|would|write|you|your""",
    re.VERBOSE,
)


def drift(original: str, rewriting: str) -> str | None:
    """Return why `rewriting` may ask for something else than `original`, or None if it seems to ask for the same."""
    words, new = len(words_of(original)), len(words_of(rewriting))
    if rewriting.count("\n") > original.count("\n"):
        return "it has more lines than the instruction"
    if not 0.3 * words <= new <= 3 * words + 12:
        return f"it has {new} words, the instruction {words}"
    if _script(original) != _script(rewriting):
        return f"it is written in {_script(rewriting)} letters"
    if _asks(original) and not _asks(rewriting):
        return "it asks for nothing"
    told = set(_REWRITING.findall(rewriting.lower())) - set(_REWRITING.findall(original.lower()))
    if told:
        return f"it speaks of rewriting: {min(told)}"
    return _lost(original, rewriting)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, numbers left out."""
    return _WORD.findall(text.lower())


def _lost(original: str, rewriting: str) -> str | None:
    """Return what a rewriting lacks of what its instruction named."""
    for literal in _LITERAL.findall(original):
        bare = literal[1:-1] if literal[0] in _QUOTED else literal
        if bare not in rewriting:
            return f"it lost {literal}"
    if missing := _numbers(original) - _numbers(rewriting):
        return f"it lost the number {min(missing)}"
    if bool(_NEGATION.search(original)) != bool(_NEGATION.search(rewriting)):
        return "it lost a negation" if _NEGATION.search(original) else "it has a negation of its own"
    named = {_stem(word) for word in words_of(original) if not _COMMON.fullmatch(word)}
    kept = named & {_stem(word) for word in words_of(rewriting)}
    if len(kept) < 0.5 * len(named):
        return f"it kept {len(kept)} of the {len(named)} words that matter"
    return None


def _asks(text: str) -> bool:
    """Return True if a sentence of the text is a question or a request, as far as English words tell."""
    sentences = [sentence.strip().lower() for sentence in _SENTENCE.findall(text)]
    return any(sentence.endswith("?") or _ASKING.match(sentence) for sentence in sentences)


def _stem(word: str) -> str:
    """Enough of a word to know it in another form: poem, poems; growing, grow."""
    return word[: max(3, min(5, len(word) - 2))] if len(word) > 3 else word


def _numbers(text: str) -> Counter[str]:
    return Counter([*_NUMBER.findall(text), *(_COUNT[word] for word in words_of(text) if word in _COUNT)])


def _script(text: str) -> str:
    """The kind of letters that a text is mostly written in, such as LATIN."""
    kinds = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    return max(kinds, key=lambda kind: kinds[kind], default="no")
