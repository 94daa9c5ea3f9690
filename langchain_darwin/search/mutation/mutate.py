"""Mutate(I, n) of Algorithm 1: rewritings of an instruction, drafted by the policy and checked.

Only the wording of an instruction is rewritten. What it is about (text to edit, code, a list of requirements)
is cut off first and put back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from langchain_darwin.search.base import Beam, Grow, Mutated, Part, Remark, Task
from langchain_darwin.search.mutation.drift import drift
from langchain_darwin.search.mutation.prompts import ADDITIONS, ANGLES, EXAMPLE, REWRITE, REWRITE_LIST, REWRITER
from langchain_darwin.search.mutation.reading import Rewriting, parse_list, read_one
from langchain_darwin.search.mutation.wording import split

LONGEST = 256  # tokens; a longer wording is left alone, rewriting it would cost more than an answer
LIST_TOKENS = 1024  # most tokens of a list of rewritings, as in the paper's code


def mutate(
    task: Task, candidate: str, n: int, *, cycle: int, how: Literal["each", "list", "append"], guard: bool = True
) -> Part[list[str]]:
    """Mutate(I_cand, n) of Algorithm 1: `n` rewritings of `candidate`.

    Args:
        task: The task of the search.
        candidate: The instruction to rewrite.
        n: How many instructions to return.
        cycle: Number of the mutation cycle, for the event.
        how: "list" asks for all in one text, as in the paper (App. D). "each" asks for one at a time, each from
            another angle, all in one batch. "append" asks no model and adds a short request to each.
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


def _draft_each(task: Task, wording: str, n: int, size: int) -> Part[list[Rewriting]]:
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


def _draft_list(task: Task, wording: str, n: int, size: int) -> Part[list[Rewriting]]:
    example = "\n".join(f"{i + 1}. {EXAMPLE[i % len(EXAMPLE)]}" for i in range(n))
    question = REWRITE_LIST.format(n=n, example=example, wording=wording)
    (beam,) = yield from _ask(task, [question], min(LIST_TOKENS, n * (2 * size + 32)))
    items = parse_list(task.text(beam))
    if beam.finish != "stop":
        items = items[:-1]  # the last one is unfinished
    drafts = [Rewriting(item) for item in items[:n]]
    missing = Rewriting(fault=f"the list has {len(items)} whole items, not {n}")
    return drafts + [missing] * (n - len(drafts))


def _ask(
    task: Task, questions: Sequence[str], most: int, examples: Sequence[Mapping[str, str]] = ()
) -> Part[list[Beam]]:
    """Answers to questions beside the conversation, free of the user's limits on responses."""
    sampling = replace(task.sampling, max_tokens=most, min_tokens=0, stop=(), constraint=None)
    beams = yield Grow([task.aside(question, examples) for question in questions], sampling=sampling)
    return beams  # type: ignore[no-any-return]


def _fault(wording: str, rewriting: str, *, guard: bool) -> str | None:
    """Return the reason why a rewriting is useless, or None."""
    if not rewriting:
        return "it is empty"
    if rewriting.split() == wording.split():
        return "it is the instruction unchanged"
    return drift(wording, rewriting) if guard else None
