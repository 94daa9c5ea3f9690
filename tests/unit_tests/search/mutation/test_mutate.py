"""Instruction rewriting: prompts and sampling, ugly lists, attachments, fallbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from langchain_darwin.policies.base import Constraint, Growth
from langchain_darwin.search.base import Grow, Mutated, Outcome, Remark
from langchain_darwin.search.mutation.mutate import mutate
from langchain_darwin.search.mutation.prompts import ADDITIONS, ANGLES
from langchain_darwin.search.mutation.reading import parse_list, read_one, unwrap
from langchain_darwin.search.mutation.wording import split
from langchain_darwin.testing import ScriptedPolicy
from tests.unit_tests.search.driving import INSTRUCTION, draw, drive, of, rewriter, task


def rewrite(instruction, respond=rewriter, *, how="each", n=3, guard=True, job=None, grow=None):
    """The steps of `mutate` and the instructions it returned."""

    class Search:
        def run(self, job):
            texts = yield from mutate(job, instruction, n, cycle=1, how=how, guard=guard)
            return Outcome((replace(job.root(), instruction="\0".join(texts)),))

    steps, outcome = drive(Search(), job or task(instruction), lambda beam: None, grow or draw(ScriptedPolicy(respond)))
    return steps, outcome.best.instruction.split("\0")


class TestParseList:
    @pytest.mark.parametrize(
        ("text", "items"),
        [
            ("1. one\n2. two", ["one", "two"]),
            ("1) one\n2) two", ["one", "two"]),
            ("(1) one\n(2) two", ["one", "two"]),
            ("**1.** one\n**2.** two", ["one", "two"]),
            ("**1. one**\n**2. two**", ["one", "two"]),
            ("1. **one**\n2. __two__", ["one", "two"]),
            ('1. "one"\n2. “two”', ["one", "two"]),
            ("- 1. one\n- 2. two", ["one", "two"]),
            ("  1. one\n\n\n  2. two  \n", ["one", "two"]),
            ("Sure! Here are 2:\n\n1. one\n2. two\n\nHope this helps!", ["one", "two"]),
            ("1. one\n   goes on\n2. two", ["one goes on", "two"]),
            ("1. one\n2. \n3. three", ["one", "three"]),
            ("10. ten\n11. eleven", ["ten", "eleven"]),
            ("1. A. B. C.\n2. do it", ["A. B. C.", "do it"]),  # fault 1: no letters are stripped
            ("one\ntwo", []),
            ("", []),
        ],
    )
    def test_ugly_lists(self, text, items):  # fault 18
        assert parse_list(text) == items


class TestReadOne:
    @pytest.mark.parametrize(
        "text",
        [
            "Explain it?",
            '"Explain it?"',
            "**Explain it?**",
            "Rewritten: Explain it?",
            "**New instruction:** Explain it?",
            "Sure, here is the rewritten instruction:\n\n'Explain it?'",
            "Explain it?\n\nThis is clearer because it is short.",
            "<<Explain it?>>",
        ],
    )
    def test_wrappings(self, text):
        assert read_one(text, "What is it?").text == "Explain it?"

    def test_a_line_is_whole_when_another_follows(self):
        assert read_one("Explain it.\n\nThis is", "What is it?", ended=False).text == "Explain it."
        assert read_one("Explain it.", "What is it?", ended=False).fault == "it did not come to an end"
        assert read_one("Explain it.\nAll of", "What\nis it?", ended=False).fault
        assert read_one("Here is one:\n\nExplain", "What is it?", ended=False).fault

    def test_quotes_inside_stay(self):
        assert unwrap('"Yes" and "no" mean what?') == '"Yes" and "no" mean what?'
        assert unwrap('"Yes" or "no"') == '"Yes" or "no"'


class TestSplit:
    @pytest.mark.parametrize(
        ("instruction", "wording"),
        [
            ("How do I make a cake?", "How do I make a cake?"),
            ("Translate into French:\n\nHello there", "Translate into French:"),
            ("Correct this: teh cat\nsat", "Correct this: teh cat\nsat"),
            ("Correct this:\nteh cat", "Correct this:"),
            ("Fix the code\n```\nx = [\n\n]\n```\nplease", "Fix the code"),
            ("Write a story.\n- a dragon\n- a lake", "Write a story."),
            ("Write a story.\n\nIt has 300 words.", "Write a story."),
            ("Dear Sir,\nI am writing.\n\nImprove the letter above.", "Improve the letter above."),
            ("word " * 200 + "\n\nSummarise this.", "Summarise this."),
            ("```\ncode\n```\n\nWhat does it print?", "What does it print?"),
            ("  \n", ""),
            ("```\ncode\n```", ""),
            ("", ""),
        ],
    )
    def test_the_wording_is_cut_out(self, instruction, wording):
        before, found, after = split(instruction)
        assert found == wording
        assert before + found + after == instruction


class TestMutate:
    def test_each_asks_for_every_beam_from_another_angle_in_one_batch(self):
        steps, texts = rewrite(INSTRUCTION, n=8)
        (grow,) = of(Grow, steps)
        assert len(grow.beams) == len(texts) == 8
        assert all(beam.aside for beam in grow.beams)
        assert len({beam.prompt for beam in grow.beams}) == len(ANGLES)
        assert all(INSTRUCTION in beam.instruction for beam in grow.beams)

    def test_all_angles_begin_with_the_same_examples(self):  # the policy reads them once
        job = task()
        (grow,) = of(Grow, rewrite(INSTRUCTION, n=len(ANGLES), job=job)[0])
        first, *others = (beam.prompt for beam in grow.beams)
        read = next(at for at in range(len(first)) if any(prompt[at] != first[at] for prompt in others))
        assert all(angle.wording in job.codec.decode(first[:read]) for angle in ANGLES)

    def test_append_asks_nobody_and_repeats_no_addition(self):
        steps, texts = rewrite(INSTRUCTION, how="append", n=2)
        assert texts == [f"{INSTRUCTION}\n\n{addition}" for addition in ADDITIONS[:2]]
        assert not of(Grow, steps)
        again = rewrite(texts[0], how="append", n=1)[1]
        assert again == [f"{INSTRUCTION}\n\n{ADDITIONS[0]}\n\n{ADDITIONS[1]}"]
        everything = "\n\n".join([INSTRUCTION, *ADDITIONS])
        assert rewrite(everything, how="append", n=2)[1] == [everything] * 2

    def test_sampling_is_short_and_free_of_the_users_limits(self):
        job = task()
        job.sampling = replace(
            job.sampling, min_tokens=50, stop=("river",), constraint=Constraint("regex", "a+"), temperature=1.5
        )
        for how in ("each", "list"):
            (grow,) = of(Grow, rewrite(INSTRUCTION, how=how, job=job)[0])
            drawn = grow.sampling
            assert (drawn.min_tokens, drawn.constraint, drawn.temperature) == (0, None, 1.5)
            assert "river" not in drawn.stop
        assert drawn.max_tokens == 3 * (2 * 7 + 32)  # the instruction has 7 words

    def test_list_asks_once_and_appends_nothing(self):  # fault 18: no question mark is put behind
        steps, texts = rewrite(INSTRUCTION, how="list")
        (grow,) = of(Grow, steps)
        assert len(grow.beams) == 1
        assert "exactly 3 mutated" in grow.beams[0].instruction
        assert f"Original instruction: {INSTRUCTION}\n" in grow.beams[0].instruction
        assert not any(line.startswith(" ") for line in grow.beams[0].instruction.splitlines())
        assert texts == [f"{INSTRUCTION} Add {extra}." for extra in ("a bird", "the wind", "light")]

    @pytest.mark.parametrize("how", ["each", "list"])
    def test_failures_fall_back_visibly(self, how):
        steps, texts = rewrite(INSTRUCTION, lambda chat, tools: "", how=how)
        assert texts == [INSTRUCTION] * 3
        (event,) = of(Mutated, steps)
        assert event.instructions == tuple(texts)
        assert all(event.fallbacks)

    def test_a_short_list_keeps_what_it_has(self):  # fault 18: not five copies
        steps, texts = rewrite(INSTRUCTION, lambda chat, tools: f"1) {INSTRUCTION} Be brief.", how="list")
        assert texts == [f"{INSTRUCTION} Be brief.", INSTRUCTION, INSTRUCTION]
        assert of(Mutated, steps)[0].fallbacks[1] == "the list has 1 whole items, not 3"

    def test_a_long_list_is_cut(self):
        said = "\n".join(f"{i}. {INSTRUCTION} Use {i} lines." for i in range(1, 9))
        assert len(rewrite(INSTRUCTION, lambda chat, tools: said, how="list")[1]) == 3

    @pytest.mark.parametrize("finish", ["length", "timeout"])
    def test_unfinished_rewritings_are_not_used(self, finish):
        def grow(beam, tokens, sampling):
            said = f"1. {INSTRUCTION} Be brief.\n2. {INSTRUCTION} Be" if listed else f"{INSTRUCTION} Be"
            return Growth(task().codec.encode_text(said), 0.0, finish)

        listed = True
        assert rewrite(INSTRUCTION, how="list", grow=grow)[1] == [f"{INSTRUCTION} Be brief.", *[INSTRUCTION] * 2]
        listed = False
        assert rewrite(INSTRUCTION, how="each", grow=grow)[1] == [INSTRUCTION] * 3

    def test_attachments_survive(self):  # fault 18
        code = "\n```python\ndef f(x):\n    return x\n\nprint(f(2))\n```\n"
        instruction = "Explain this function to a beginner:" + code
        steps, texts = rewrite(instruction, lambda chat, tools: "Explain to a beginner what this function does:")
        assert texts[0] == "Explain to a beginner what this function does:" + code
        assert "print(f(2))" not in of(Grow, steps)[0].beams[0].instruction

    def test_without_guard_anything_whole_is_taken(self):
        said = "Sing about a mountain."
        assert rewrite(INSTRUCTION, lambda chat, tools: said)[1] == [INSTRUCTION] * 3
        assert rewrite(INSTRUCTION, lambda chat, tools: said, guard=False)[1] == [said] * 3

    @pytest.mark.parametrize(("instruction", "why"), [("word " * 100 + "(" * 9 + " ) " * 400, "tokens"), ("", "no")])
    def test_what_cannot_be_rewritten_costs_nothing(self, instruction, why):
        steps, texts = rewrite(instruction)
        assert texts == [instruction] * 3
        assert not of(Grow, steps)
        assert why in of(Remark, steps)[0].text

    def test_braces_and_marks_in_an_instruction_are_plain_text(self):
        instruction = 'Explain {wording} and {0} in "{n}".'
        steps, _ = rewrite(instruction)
        assert instruction in of(Grow, steps)[0].beams[0].instruction
