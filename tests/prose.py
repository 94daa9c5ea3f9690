"""Reads Markdown and docstrings as prose: passages, sentences, words."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

WORD_LIST = Path(__file__).with_name("home_made_words.txt")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef

# Marks that end no sentence, although a point is in them.
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|et al|vs|cf|App|Fig|Eq|No|approx)\.(?=\s)")
SENTENCE_END = re.compile(r"[.!?][\"')\]*_]*\s+(?![a-z]+\b)")
# A value with its interval or its error is one word: +0.08 [+0.05, +0.12], 0.40 ± 0.10.
INTERVAL = re.compile(r"\s*\[[-+]?[\d.]+, [-+]?[\d.]+\]|\s*± [\d.]+")
NEW_ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s")
TABLE_RULE = re.compile(r"[|:\-\s]*-[|:\-\s]*")
FIELD = re.compile(r"\s*(\*{0,2}\w+(, \w+)*|`[^`]+`): ")
CODE_IN_A_DOCSTRING = re.compile(r"\s*(>>>|\.\.\. |\.\. )")


def home_made_words() -> dict[str, str]:
    """The words that the field does not use, each with what to write instead."""
    lines = WORD_LIST.read_text(encoding="utf-8").splitlines()
    entries = [line.partition("\t") for line in lines if line and not line.startswith("#")]
    return {word: instead for word, _, instead in entries}


def home_made_in(passage: str) -> list[str]:
    """The words of the list that a passage holds outside of code, as "word: write ..."."""
    text = re.sub(r"\s+", " ", plain(passage)).lower()
    return [
        f"{word!r}: write {instead}" for word, instead in home_made_words().items() if re.search(rf"\b{word}\b", text)
    ]


def plain(passage: str) -> str:
    """A passage with its code spans, addresses and intervals as one word each, and links as their text."""
    text = re.sub(r"``[^`]+``|`[^`]+`", "Code", passage)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<?https?://[^\s)>]+[^\s)>.,;]>?", "Address", text)
    text = INTERVAL.sub("", text)
    return ABBREVIATION.sub(r"\1", text)


def sentences(passage: str) -> list[str]:
    """The sentences of one passage; a colon or a semicolon ends none."""
    return [part for part in SENTENCE_END.split(re.sub(r"\s+", " ", plain(passage))) if words(part)]


def words(sentence: str) -> list[str]:
    """The words of a sentence: what holds a letter or a digit between blanks."""
    return [word for word in plain(sentence).split() if re.search(r"\w", word)]


def markdown_passages(text: str, *, tables: bool = True) -> Iterator[str]:
    """Headings, paragraphs, list items and cells of tables, without code blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip("\n").splitlines()
        if not tables:
            lines = [line for line in lines if not line.lstrip().startswith("|")]
        if all(line.startswith("    ") for line in lines):
            continue  # indented code
        yield from _passages_of_block(lines)


def docstring_passages(docstring: str) -> Iterator[str]:
    """Paragraphs, list items and described names of a docstring, without its examples."""
    for block in re.split(r"\n\s*\n", re.sub(r"```.*?```", "", inspect.cleandoc(docstring), flags=re.DOTALL)):
        lines = block.strip("\n").splitlines()
        if not lines or CODE_IN_A_DOCSTRING.match(lines[0]):
            continue
        if lines[0].startswith("    "):
            continue  # code after a double colon; sections begin with their heading
        yield from _passages_of_block(lines)


def messages(source: str) -> Iterator[str]:
    """The texts of errors: what a `raise` holds, and what is named `msg` before it; values are one word each."""
    for node in ast.walk(ast.parse(source)):
        is_message = (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "msg"
        )
        if is_message or isinstance(node, ast.Raise):
            yield from _texts(node)


def docstrings(source: str) -> Iterator[tuple[str, bool, str]]:
    """Name, being a function's, and text of all docstrings in a module's source, those of variables included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | Definition):
            name = getattr(node, "name", "module")
            for i, text in enumerate(_strings_alone(node.body)):
                yield name, isinstance(node, Function) and i == 0, text


def ninetieth_percentile(passages: Iterator[str]) -> int:
    """Words that nine of ten sentences have at most."""
    lengths = sorted(len(words(sentence)) for passage in passages for sentence in sentences(passage))
    return lengths[int(0.9 * (len(lengths) - 1))]


def _strings_alone(body: list[ast.stmt]) -> Iterator[str]:
    """Statements that are a string and nothing else: docstrings of the body itself and of its variables."""
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            value = statement.value.value
            if isinstance(value, str):
                yield value


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "Value" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def _passages_of_block(lines: list[str]) -> Iterator[str]:
    """Lines joined to passages: each table cell, list item, heading or described name is one of its own."""
    passage: list[str] = []
    for line in lines:
        is_row = line.lstrip().startswith("|")
        if is_row or NEW_ITEM.match(line) or line.startswith("#") or FIELD.match(line):
            yield from [" ".join(passage)] * bool(passage)
            passage = []
        if is_row:
            yield from (cell for cell in _cells(line) if cell)
        else:
            passage.append(NEW_ITEM.sub("", line, count=1).strip())
    yield from [" ".join(passage)] * bool(passage)


def _cells(row: str) -> list[str]:
    """The cells of a row of a table; none of the rule below its heading."""
    if TABLE_RULE.fullmatch(row):
        return []
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]
