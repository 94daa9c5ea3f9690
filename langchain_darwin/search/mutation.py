"""Instruction rewriting: the prompts, the parsing, and the check that a rewriting kept to its instruction.

Only the wording of an instruction is rewritten. What it is about (text to edit, code, a list of requirements)
is cut off first and put back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from langchain_darwin.search.base import Beam, Grow, Mutated, Part, Remark, Task
from langchain_darwin.search.drift import drift, words_of

LONGEST = 256  # tokens; a longer wording is left alone, rewriting it would cost more than an answer
LIST_TOKENS = 1024  # most tokens of a list of rewritings, as in the paper's code

REWRITER = "You rewrite instructions. You never carry them out."
REWRITE = "Rewrite this instruction so that it {aim}. Do not carry it out.\n\n<<{wording}>>"


class Angle(NamedTuple):
    """What a rewriting aims at, with an example: an instruction and its rewriting."""

    aim: str
    wording: str
    rewriting: str


ANGLES = (
    Angle(
        "is more specific",
        "How do I grow tomatoes?",
        "What soil, light and water do I need to grow healthy tomatoes?",
    ),
    Angle(
        "speaks to an expert",
        "Write a poem about 3 cats.",
        "As a poet who loves animals, write a poem about 3 cats.",
    ),
    Angle(
        "uses other words",
        "What is a good name for my dog?",
        "What should I call my dog?",
    ),
    Angle(
        "asks for a well organised answer",
        "Explain the water cycle in 5 sentences.",
        "Explain the water cycle in 5 sentences, step by step, from rain to rain.",
    ),
    Angle(
        "is short and simple",
        "I have a headache and would like to know what helps.",
        "What helps against a headache?",
    ),
    Angle(
        "asks for examples and details",
        "Describe a castle.",
        "Describe a castle with its towers, halls and gardens. Give vivid details.",
    ),
)

ADDITIONS = (
    "Be specific.",
    "Think about what is asked, and answer all of it.",
    "Give a well organised answer.",
    "Answer as an expert would.",
    "Keep it short and simple.",
    "Give examples and details.",
)

REWRITE_LIST = """\
You are a professional prompt engineer. Below is an instruction that someone wrote for an assistant. Write \
exactly {n} mutated instructions that ask for the same thing more clearly. All of them must keep the \
intention of the original. Hint: you may add or remove details, or rephrase it. Reply with a numbered list \
and nothing else.

Original instruction: How do I grow tomatoes?
Mutated instructions:
{example}

Original instruction: {wording}
Mutated instructions:"""

EXAMPLE = (
    "How do I grow tomatoes at home, from seed to harvest?",
    "Explain step by step how to grow healthy tomatoes.",
    "What soil, light and water do tomatoes need in order to grow well?",
    "Give a beginner clear advice on growing tomatoes in a small garden.",
    "Describe how to grow tomatoes and which mistakes to avoid.",
)


def mutate(
    task: Task, candidate: str, n: int, *, cycle: int, how: Literal["each", "list", "append"], guard: bool = True
) -> Part[list[str]]:
    """Mutate(I_cand, n) of Algorithm 1: `n` rewritings of `candidate`.

    Args:
        task: The task at hand.
        candidate: The instruction to rewrite.
        n: How many instructions to return.
        cycle: Number of the mutation cycle, for the event.
        how: "list" asks for all in one text, as in the paper (App. D); "each" asks for one at a time, each
            from another angle, all in one batch; "append" asks nobody and adds a short request to each.
        guard: Whether rewritings that `drift` finds fault with are dropped.

    Returns:
        The instructions; `candidate` itself wherever there is no good rewriting.
    """
    if how == "append" and candidate.strip():
        texts = _appended(candidate, n)
        yield Mutated(cycle, tuple(texts), (None,) * n)
        return texts
    before, wording, after = split(candidate)
    size = len(task.codec.encode_text(wording))
    if not wording or size > LONGEST:
        why = f"its wording has {size} tokens, more than {LONGEST}" if wording else "there is no wording in it"
        yield Remark(f"The instruction is not rewritten: {why}.")
        return [candidate] * n
    if how == "list":
        drafts = yield from _draft_list(task, wording, n, size)
    else:
        drafts = yield from _draft_each(task, wording, n, size)
    faults = [draft.fault or _fault(wording, draft.text, guard=guard) for draft in drafts]
    texts = [candidate if fault else before + draft.text + after for draft, fault in zip(drafts, faults, strict=True)]
    yield Mutated(cycle, tuple(texts), tuple(faults))
    return texts


def _appended(candidate: str, n: int) -> list[str]:
    """The candidate with one addition each, of those that it does not have yet."""
    additions = [text for text in ADDITIONS if text not in candidate] or [""]
    return [f"{candidate.rstrip()}\n\n{additions[i % len(additions)]}".rstrip() for i in range(n)]


class Draft(NamedTuple):
    """A rewriting as it was written, or why there is none."""

    text: str = ""
    fault: str | None = None


def _draft_each(task: Task, wording: str, n: int, size: int) -> Part[list[Draft]]:
    angles = [ANGLES[i % len(ANGLES)] for i in range(n)]
    questions = [REWRITE.format(wording=wording, aim=angle.aim) for angle in angles]
    beams = yield from _ask(task, questions, 2 * size + 32, examples=_examples())
    return [read_one(task.text(beam), wording, ended=beam.finish == "stop") for beam in beams]


def _examples() -> list[dict[str, str]]:
    """A dialogue of rewritings, the same for all angles, so that a policy reads it once.

    Small models follow a dialogue far better than the same examples in one message (docs/paper.md).
    """
    dialogue = [{"role": "system", "content": REWRITER}]
    for angle in ANGLES:
        dialogue.append({"role": "user", "content": REWRITE.format(wording=angle.wording, aim=angle.aim)})
        dialogue.append({"role": "assistant", "content": angle.rewriting})
    return dialogue


def _draft_list(task: Task, wording: str, n: int, size: int) -> Part[list[Draft]]:
    example = "\n".join(f"{i + 1}. {EXAMPLE[i % len(EXAMPLE)]}" for i in range(n))
    question = REWRITE_LIST.format(n=n, example=example, wording=wording)
    (beam,) = yield from _ask(task, [question], min(LIST_TOKENS, n * (2 * size + 32)))
    items = parse_list(task.text(beam))
    if beam.finish != "stop":
        items = items[:-1]  # the last one is unfinished
    drafts = [Draft(item) for item in items[:n]]
    missing = Draft(fault=f"the list has {len(items)} whole items, not {n}")
    return drafts + [missing] * (n - len(drafts))


def _ask(
    task: Task, questions: Sequence[str], most: int, examples: Sequence[Mapping[str, str]] = ()
) -> Part[list[Beam]]:
    """Answers to questions beside the conversation, free of the user's limits on responses."""
    sampling = replace(task.sampling, max_tokens=most, min_tokens=0, stop=(), constraint=None)
    beams = yield Grow([task.aside(question, examples) for question in questions], sampling=sampling)
    return beams  # type: ignore[no-any-return]


# Cutting an instruction into its wording and what it is about.

_ATTACHED = re.compile(r"\s*(?:[-*+•>|#]|\d+[.)]|```|\t| {4})")
_POINTS_BACK = re.compile(r"\b(?:above|preceding|previous|foregoing)\b", re.IGNORECASE)


def split(instruction: str) -> tuple[str, str, str]:
    """The instruction as (text before, wording, text after); their concatenation is the instruction.

    The wording is the first paragraph, or the last where that speaks of what is above or where the first is
    no short prose. It ends at a line that closes with a colon, and before a list, a quotation or code.
    """
    spans = _paragraphs(instruction)
    if spans and _POINTS_BACK.search(instruction[slice(*spans[-1])]):
        spans.reverse()
    elif len(spans) > 1:
        spans = [spans[0], spans[-1]]
    for begin, end in spans[:2]:
        wording = _leading_prose(instruction[begin:end])
        if 0 < len(words_of(wording)) <= 120:  # a longer paragraph is a text to work on
            return instruction[:begin], wording, instruction[begin + len(wording) :]
    return instruction, "", ""


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Where the blocks between blank lines begin and end; fenced code is a block."""
    blocks = re.finditer(r"```.*?(?:```|\Z)|(?:(?!```)\S(?:(?!\n[ \t]*\n|```).)*)", text, re.DOTALL)
    return [(block.start(), block.start() + len(block.group().rstrip())) for block in blocks]


def _leading_prose(paragraph: str) -> str:
    lines: list[str] = []
    for line in paragraph.split("\n"):
        if _ATTACHED.match(line):
            break
        lines.append(line)
        if line.rstrip().endswith(":"):
            break
    return "\n".join(lines).rstrip()


# Reading what the model wrote.

_ITEM = re.compile(r"^[ \t]*(?:[*_#>-]+[ \t]*)*\(?(\d{1,2})[.):](?:[*_]+)?(?:[ \t]+|$)", re.MULTILINE)
_LABEL = re.compile(
    r"^(?:(?:sure|certainly|of course|here (?:is|are)|here's)\b[^\n]*?[:!.]\s+)?"
    r"(?:[*_]*(?:(?:the )?(?:(?:new|rewritten|mutated|improved) )?instruction|rewritten)[*_]*:[*_]*\s*)?",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'", "\u2018": "\u2019", "`": "`"}


def parse_list(text: str) -> list[str]:
    """Items of a numbered list: `1.`, `1)`, `**1.**`, over several lines, among other text."""
    marks = list(_ITEM.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    bodies = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)]
    # A blank line ends an item: what follows is a remark on the list.
    items = [unwrap(" ".join(re.split(r"\n\s*\n", body)[0].split())) for body in bodies]
    return [item for item in items if item]


def read_one(text: str, wording: str, *, ended: bool = True) -> Draft:
    """The one rewriting in a text. If `wording` has but one line, further lines are remarks."""
    text, rest = unwrap(text), ""
    if "\n" not in wording:
        text, rest, _ = text.partition("\n")
    whole = ended or rest
    return Draft(unwrap(text)) if whole else Draft(fault="it did not come to an end")


def unwrap(text: str) -> str:
    """A rewriting without introduction, label, bold type and surrounding quotes."""
    text = _LABEL.sub("", text.strip(), count=1).strip()
    for mark in ("**", "__", "*", "_"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    if text.count("**") == 1:  # the other one stood before the number of a list
        text = text.removesuffix("**")
    if text.startswith("<<") and text.endswith(">>"):  # as it was shown
        text = text[2:-2].strip()
    closing = _QUOTES.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing) and closing not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def _fault(wording: str, rewriting: str, *, guard: bool) -> str | None:
    """Why a rewriting is of no use, or None."""
    if not rewriting:
        return "it is empty"
    if rewriting.split() == wording.split():
        return "it is the instruction unchanged"
    return drift(wording, rewriting) if guard else None
