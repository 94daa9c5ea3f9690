"""Darwin fed by hand. Numbers after "fault" are those of the list in docs/paper.md."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Growth
from langchain_darwin.search.base import (
    Archived,
    Beam,
    CycleStarted,
    Grow,
    Mutated,
    Remark,
    Replaced,
    Score,
)
from langchain_darwin.search.darwin import (
    Darwin,
    credit,
    most_credited,
    replace_worst,
    update_archive,
)
from langchain_darwin.testing import ScriptedPolicy
from tests.unit_tests.search.driving import INSTRUCTION, draw, drive, ending_at, of, rewriter, task

PLAIN = Darwin(beams=4, keep=2, period=5, mutation="none", replacement="top_k")
REWRITING = Darwin(period=6, mutation="each")


def beam(ident, reward=None, finish=None, instruction="I"):
    return Beam(ident, instruction, (1,), (7,) * 5, reward=reward, finish=finish)


def by_id(rewards):
    """A reward that knows a beam by its id, and a copy by its own."""
    return lambda beam: float(rewards.get(beam.id, 0))


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"replacement": "top_k", "keep": 9}, "keep=9 must be between 1 and the number of beams less one, 4"),
            ({"replacement": "top_k", "keep": 5}, "keep=5 must be between 1 and the number of beams less one, 4"),
            ({"keep": 0}, "keep=0 must be at least 1"),
            ({"replacement": "top_k", "beams": 1}, "beams=1 leaves nothing to replace"),
            ({"period": 0}, "period=0 must be at least 1"),
            ({"first_period": 0}, "first_period=0 must be at least 1"),
            ({"cycles": 0}, "cycles=0 must be at least 1"),
            ({"per_instruction": 0}, "per_instruction=0"),
            ({"look_ahead": -1}, "look_ahead=-1"),
            ({"resample_temperature": 0}, "resample_temperature=0 must be above 0"),
            ({"mutation": "both"}, "mutation='both' must be one of 'each', 'list', 'append', 'none'"),
            ({"replacement": "top"}, "replacement='top' must be one of"),
            ({"carry": "cache"}, "carry='cache' must be one of 'branch', 'text'"),
        ],
    )
    def test_bad_values_are_refused_at_once(self, fields, words):  # fault 4
        with pytest.raises(ConfigurationError, match=words):
            Darwin(**fields)

    def test_keep_counts_all_beams_of_all_instructions(self):
        assert Darwin(beams=3, per_instruction=2, keep=5, replacement="top_k").keep == 5
        assert Darwin(beams=2, keep=9).keep == 9

    def test_it_is_frozen_and_comparable(self):
        assert Darwin() == Darwin()
        assert Darwin() != Darwin.paper()
        with pytest.raises(FrozenInstanceError):
            Darwin().keep = 1  # type: ignore[misc]

    def test_paper(self):
        assert asdict(Darwin.paper()) == {
            "beams": 5,
            "per_instruction": 1,
            "cycles": 3,
            "period": 40,
            "first_period": None,
            "keep": 3,
            "mutation": "list",
            "keep_original": False,
            "drift_guard": False,
            "seed_answer": True,
            "replacement": "top_k",
            "resample_temperature": 1.0,
            "carry": "text",
            "pool_finished": False,
            "look_ahead": 0,
        }


class TestReplacement:
    def test_f_keeps_the_best_k_and_draws_the_rest_from_them(self):
        beams = [beam(i, reward) for i, reward in enumerate([1, 5, 3, 4, 2])]
        drawn = Counter()
        rng = random.Random(0)
        for _ in range(3000):
            pairs = replace_worst(beams, 3, rng)
            assert [receiver.id for receiver, _ in pairs] == [4, 0]
            drawn.update(donor.id for _, donor in pairs)
        assert set(drawn) == {1, 2, 3}
        assert all(abs(count - 2000) < 150 for count in drawn.values())

    def test_finished_beams_are_never_given_up(self):
        beams = [beam(0, 1.0, "stop"), beam(1, 3.0), beam(2, 2.0)]
        assert [receiver.id for receiver, _ in replace_worst(beams, 1, random.Random(0))] == [2]

    def test_in_a_round_the_copies_go_on_as_long_as_their_donors(self):
        steps, _ = drive(PLAIN, task(), by_id({0: 1, 1: 9, 2: 8, 3: 2}), ending_at({}, 20))
        first = of(Replaced, steps)[:2]
        assert [event.receiver for event in first] == [3, 0]
        assert all(event.donor in (1, 2) for event in first)
        for grow in of(Grow, steps):
            assert len({len(beam.tokens) for beam in grow.beams if beam.live}) == 1

    def test_branch_carries_the_instruction_and_text_does_not(self):
        by_wording = lambda beam: float(EXTRA_SCORES.get(beam.instruction[-6:], 0))  # noqa: E731
        search = Darwin(beams=4, keep=2, period=5, mutation="each", replacement="top_k")
        branched = drive(search, task(), by_wording, draw())[0]
        grafted = drive(replace(search, carry="text"), task(), by_wording, draw())[0]
        assert len({beam.instruction for beam in of(Grow, branched)[2].beams}) < 4
        first, second = of(Grow, grafted)[1:3]
        assert [beam.prompt for beam in first.beams] == [beam.prompt for beam in second.beams]
        donors = {beam.id: beam for beam in of(Score, grafted)[0].beams}
        for copy in [beam for beam in second.beams if beam.parent is not None]:
            assert copy.tokens == donors[copy.parent].tokens  # ids, never text: faults 11 and 12

    def test_a_finished_answer_never_ends_a_live_beam(self):  # fault 16
        finished_early = ending_at({0: 3}, 20)
        steps, outcome = drive(PLAIN, task(), by_id({0: 99}), finished_early)
        assert 0 not in {event.donor for event in of(Replaced, steps)}
        assert outcome.best.id == 0
        assert all(beam.id != 0 for grow in of(Grow, steps)[1:] for beam in grow.beams)

    def test_in_the_paper_a_finished_answer_may_be_copied_but_not_replaced(self):
        search = replace(PLAIN, pool_finished=False, keep=1)
        steps, _ = drive(search, task(), by_id({0: 99}), ending_at({0: 3}, 20))
        assert {event.donor for event in of(Replaced, steps)} == {0}
        assert len(of(Grow, steps)) == 1  # all copies of it are finished
        lowest = drive(search, task(), by_id({0: -99, 1: 5}), ending_at({0: 3}, 20))[0]
        assert 0 not in {event.receiver for event in of(Replaced, lowest)}

    def test_without_judgement_nothing_is_replaced(self):
        unfinished = lambda beam: None if beam.live else float(beam.id)  # noqa: E731
        for search in (PLAIN, replace(PLAIN, pool_finished=False), replace(PLAIN, replacement="resample")):
            steps, outcome = drive(search, task(), unfinished, ending_at({2: 3}, 12))
            assert not of(Replaced, steps)
            assert "unjudged" in of(Remark, steps)[0].text
            assert outcome.best.id == 3

    def test_no_replacement_decodes_in_one_go_and_still_fills_the_archive(self):  # fault 3
        search = Darwin(mutation="each", replacement="none", cycles=2)
        steps, outcome = drive(search, task(), lambda beam: float(len(beam.instruction)))
        assert [grow.tokens for grow in of(Grow, steps)] == [None] * 4
        assert len(of(Archived, steps)[0].instructions) > 1
        assert len(outcome.beams) == 10
        assert outcome.best.reward == max(beam.reward for beam in outcome.beams)

    def test_first_period(self):
        steps, _ = drive(replace(PLAIN, first_period=8), task(), by_id({}), ending_at({}, 20))
        assert [grow.tokens for grow in of(Grow, steps)] == [8, 5, 5, 5]


EXTRA_SCORES = {"light.": 3, " wind.": 2}


def resample(beams, temperature, rng):
    return Darwin(replacement="resample", resample_temperature=temperature)._pairs(rng, beams)


class TestResampling:
    def test_equal_rewards_change_nothing(self):
        assert resample([beam(i, 2.0) for i in range(5)], 1.0, random.Random(0)) == []

    def test_it_does_not_depend_on_the_scale_of_the_rewards(self):
        rewards = [0.1, 0.5, 0.2, 0.9, 0.3]
        small = resample([beam(i, r) for i, r in enumerate(rewards)], 1.0, random.Random(5))
        large = resample([beam(i, 1000 * r - 7) for i, r in enumerate(rewards)], 1.0, random.Random(5))
        assert [(a.id, b.id) for a, b in small] == [(a.id, b.id) for a, b in large] != []

    def test_a_low_temperature_leaves_the_best_alone(self):
        pairs = resample([beam(i, float(i)) for i in range(4)], 0.01, random.Random(0))
        assert [(receiver.id, donor.id) for receiver, donor in pairs] == [(0, 3), (1, 3), (2, 3)]

    def test_finished_beams_are_never_given_up(self):
        beams = [beam(0, 0.0, "stop"), beam(1, 1.0), beam(2, 5.0)]
        assert 0 not in {receiver.id for receiver, _ in resample(beams, 0.01, random.Random(0))}


class TestArchive:
    def test_credit_goes_to_the_instructions_of_the_best_that_grew(self):  # faults 17 and 27
        beams = [beam(i, r, instruction=text) for i, r, text in [(0, 3, "a"), (1, 2, "b"), (2, 1, "c")]]
        assert credit(beams, {0, 1, 2}, 2) == ["a", "b"]
        assert credit(beams, {1, 2}, 2) == ["b"]
        assert credit([beam(0)], {0}, 2) == []

    def test_the_most_credited_come_first_and_ties_go_to_the_higher_reward(self):
        ended = [beam(0, 1.0, instruction="a"), beam(1, 2.0, instruction="b")]
        assert most_credited(Counter(a=2, b=2, c=3), ended, 2) == ["c", "b"]

    def test_keep_instructions_can_enter_not_two(self):  # fault 17
        ended = [beam(i, 5.0, "stop", text) for i, text in enumerate("abcd")]
        top = most_credited(Counter("abcd"), ended, 3)
        assert list(update_archive({"I": 1.0}, "I", ended, top)) == ["I", "a", "b", "c"]

    def test_only_strictly_better_ones_enter(self):
        ended = [beam(i, r, "stop", text) for i, r, text in [(0, 2.0, "a"), (1, 3.0, "b"), (2, 1.0, "c")]]
        assert update_archive({"I": 2.0}, "I", ended, ["a", "b", "c"]) == {"I": 2.0, "b": 3.0}

    def test_the_candidate_is_measured_by_its_best_answer(self):
        ended = [beam(0, 4.0, "stop", "I"), beam(1, 3.0, "stop", "b")]
        assert update_archive({"I": 2.0}, "I", ended, ["b"]) == {"I": 4.0}

    def test_a_lower_reward_never_overwrites_a_higher_one(self):  # fault 21
        ended = [beam(0, 3.0, "stop", "b"), beam(1, 2.5, "stop", "b")]
        assert update_archive({"I": 1.0, "b": 9.0}, "I", ended, ["b", "b"]) == {"I": 1.0, "b": 9.0}

    def test_without_the_candidates_reward_any_reward_enters(self):
        ended = [beam(0, -5.0, "stop", "b"), beam(1, None, "timeout", "c")]
        assert update_archive({"I": None}, "I", ended, ["b", "c"]) == {"I": None, "b": -5.0}

    def test_candidates_come_from_the_archive(self):
        steps, _ = drive(
            Darwin(cycles=4, period=5, mutation="append"), task(), lambda beam: float(len(beam.instruction))
        )
        archives = [event.instructions for event in of(Archived, steps)]
        assert all(
            event.instruction in archive
            for event, archive in zip(of(CycleStarted, steps)[1:], archives[:-1], strict=True)
        )
        assert len(archives[-1]) > len(archives[0]) > 1


class TestRun:
    def test_an_early_finisher_gets_no_credit_for_outlasting(self):  # fault 27
        search = replace(PLAIN, pool_finished=False, replacement="none", mutation="list", keep_original=False)
        search = replace(search, replacement="top_k", keep=3)
        steps, _ = drive(search, task(), by_id({1: 99}), ending_at({1: 2}, 30))
        assert len(of(Score, steps)) == 6
        archive = of(Archived, steps)[0].instructions
        early = next(b.instruction for b in of(Score, steps)[0].beams if b.id == 1)
        assert early not in archive[:2]

    def test_the_seed_answer_competes_and_is_told(self):  # fault 19
        search = replace(PLAIN, seed_answer=True)
        _, outcome = drive(search, task(), by_id({0: 50}), ending_at({}))
        assert outcome.best == outcome.seed
        assert outcome.best.id == 0
        assert drive(PLAIN, task(), by_id({}), ending_at({}))[1].seed is None

    def test_the_original_is_among_the_beams(self):  # fault 19
        steps, _ = drive(Darwin(period=5), task(), by_id({}))
        assert [beam.instruction for beam in of(Grow, steps)[1].beams].count(INSTRUCTION) >= 1
        paper = drive(Darwin.paper(), task(), by_id({}))[0]
        assert INSTRUCTION not in [beam.instruction for beam in of(Grow, paper)[2].beams]

    def test_beams_per_instruction_are_pooled(self):  # fault 20
        search = replace(Darwin.paper(), per_instruction=2, period=5)
        steps, _ = drive(search, task(), lambda beam: float(beam.id))
        roots = of(Grow, steps)[2].beams
        assert [count for _, count in Counter(b.instruction for b in roots).items()] == [2] * 5
        assert len(of(Replaced, steps)) >= 7  # of ten beams, all but three

    def test_replacement_only_is_a_plain_configuration(self):  # fault 20
        steps, _ = drive(PLAIN, task(), by_id({0: 1}), ending_at({}))
        assert not of(Mutated, steps)
        assert {beam.instruction for grow in of(Grow, steps) for beam in grow.beams} == {INSTRUCTION}

    def test_finished_answers_are_not_scored_again_or_grown(self):  # fault 13
        steps, _ = drive(PLAIN, task(), by_id({}), ending_at({0: 3}, 20))
        assert [0 in {beam.id for beam in score.beams} for score in of(Score, steps)][:2] == [True, False]

    def test_an_end_token_in_the_text_does_not_end_a_beam(self):  # fault 14
        says = draw(ScriptedPolicy(lambda chat, tools: "<b> bold </s> and more <|eot_id|> text"))
        _, outcome = drive(PLAIN, task(), by_id({}), says)
        assert task().text(outcome.best) == "<b> bold </s> and more <|eot_id|> text"

    def test_answers_never_exceed_max_tokens(self):  # fault 15
        says = draw(ScriptedPolicy(lambda chat, tools: "word " * 99))
        _, outcome = drive(PLAIN, task(max_tokens=13), by_id({}), says)
        assert {(len(beam.tokens), beam.finish) for beam in outcome.beams} == {(13, "length")}

    def test_look_ahead_is_seen_by_the_reward_and_thrown_away(self):  # fault 24
        search = replace(PLAIN, look_ahead=3)
        steps, outcome = drive(search, task(), lambda beam: float(len(beam.tokens)), ending_at({}, 12))
        kept, ahead = of(Grow, steps)[:2]
        assert (kept.tokens, ahead.tokens) == (5, 3)
        assert kept.last_roots
        assert not ahead.last_roots
        assert [beam.parent for beam in ahead.beams] == [beam.id for beam in kept.beams]
        assert {beam.reward for beam in of(Score, steps)[1].beams} <= {None, 8.0, 10.0}
        assert [len(grow.beams[0].tokens) for grow in of(Grow, steps)] == [0, 5, 5, 10, 10]
        assert all(len(beam.tokens) == 12 and beam.reward == 12 for beam in outcome.beams)

    def test_look_ahead_values_reach_the_replacement(self):
        steps, _ = drive(replace(PLAIN, look_ahead=3), task(), by_id({5: 9, 6: 8}), ending_at({}, 12))
        first = of(Replaced, steps)[:2]  # ids 4..7 look ahead of 0..3
        assert {event.receiver for event in first} == {0, 3}
        assert {event.donor for event in first} <= {1, 2}
        assert all(event.reward in (8, 9) for event in first)

    def test_last_roots_are_the_last_cycles(self):
        steps, _ = drive(Darwin(cycles=2, period=5), task(), by_id({}))
        told = [grow.last_roots for grow in of(Grow, steps) if not grow.beams[0].aside]
        assert told == sorted(told)
        assert told[0] is False
        assert told[-1] is True
        assert not any(grow.last_roots for grow in of(Grow, steps) if grow.beams[0].aside)

    def test_a_timeout_breaks_nothing(self):
        late = lambda beam, tokens, sampling: Growth((300,) * (beam.id % 2), 0.0, "timeout")  # noqa: E731
        for search in (Darwin(cycles=2), Darwin.paper(), Darwin(look_ahead=5)):
            _, outcome = drive(search, task(), lambda beam: None, late)
            assert outcome.best.finish == "timeout"

    def test_complete_answers_come_before_those_cut_short(self):
        def grow(beam, tokens, sampling):
            return Growth((300,), 0.0, "stop" if beam.id == 2 else "timeout")

        _, outcome = drive(PLAIN, task(), by_id({0: 9, 2: 1}), grow)
        assert outcome.best.id == 2

    @pytest.mark.parametrize("search", [Darwin(), Darwin.paper(), REWRITING])
    def test_the_same_seed_gives_the_same_steps(self, search):  # fault 26
        search = replace(search, period=6)
        score = lambda beam: float(hash(beam.tokens) % 97)  # noqa: E731
        one, other = (drive(search, task(), score)[0] for _ in range(2))
        assert one == other
        assert drive(search, task(seed=2), score)[0] != one

    def test_the_configuration_does_not_wear_out(self):
        search = Darwin(period=6)
        assert drive(search, task(), by_id({}))[1] == drive(search, task(), by_id({}))[1]


class TestConversations:
    TOOLS = (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "weather"}]},
        {"role": "tool", "content": "Rain, 4 degrees"},
    )

    def test_only_the_last_human_message_is_rewritten(self):
        job = task(conversation=self.TOOLS)
        steps, _ = drive(REWRITING, job, by_id({}), draw(ScriptedPolicy(rewriter)))
        rewritten = [text for text in of(Mutated, steps)[0].instructions if text != job.instruction]
        assert rewritten
        text, _ = job.codec.read_chat(job.root(rewritten[0]).prompt)
        assert text.startswith("system: Be kind.\nuser: What is the weather in Oslo? Add")
        assert "tool: Rain, 4 degrees" in text

    @pytest.mark.parametrize("search", [Darwin(mutation="append"), REWRITING])
    def test_without_a_human_message_mutation_is_skipped_visibly(self, search):
        steps, outcome = drive(search, task(conversation=[{"role": "system", "content": "Go."}]), by_id({}))
        assert not of(Mutated, steps)
        assert "not rewritten" in of(Remark, steps)[0].text
        assert outcome.best.tokens
