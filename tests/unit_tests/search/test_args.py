"""ARGS on the scripted policy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from langchain_darwin.chat.streaming import CommittedText
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Constraint, Proposal, Sampling
from langchain_darwin.search.args import ARGS
from langchain_darwin.search.base import Extend, Grown, Propose, Remark, Score, Scored, TokensDrawn
from langchain_darwin.search.driver.runner import Budget
from langchain_darwin.search.steps import UNJUDGED
from langchain_darwin.testing import ScriptedPolicy, WordCodec, keyword_reward
from langchain_darwin.testing.contracts.runs import runner
from langchain_darwin.trace import TraceWriter, traces
from tests.unit_tests.search import driving
from tests.unit_tests.search.driving import task

A, B, C = WordCodec().encode_text(" a b c")
END = 0


def drive(search, job, rewards, proposals):
    """All steps and the outcome, with the same proposals at every step; rewards by the last token."""
    proposal = Proposal(*zip(*proposals, strict=True))
    return driving.drive(search, job, score=lambda beam: rewards.get(beam.tokens[-1]), propose=lambda beam: proposal)


PROPOSALS = [(A, -0.5), (B, -1.0), (C, -3.0)]


@pytest.mark.parametrize(
    ("weight", "token"),
    [
        (0.0, A),
        (0.4, A),  # -0.5 + 0.4 r against -1.0 + 0.4 (r + 1)
        (0.6, B),
        (2.0, C),  # -1.0 + 2 (r + 1) against -3.0 + 2 (r + 2.1)
    ],
)
def test_likelihood_and_weighted_reward_are_added(weight, token):
    for shift in (0.0, 1000.0):
        rewards = {A: shift, B: shift + 1, C: shift + 2.1}
        _, found = drive(ARGS(weight=weight), task(max_tokens=1), rewards, PROPOSALS)
        assert found.best.tokens == (token,)
        assert found.best.logprob == pytest.approx(dict(PROPOSALS)[token])
        assert found.best.finish == "length"


def test_a_step_is_one_propose_one_score_one_extend():
    steps, found = drive(ARGS(top_k=3, temperature=1.0, n=2), task(max_tokens=4), {A: 0.0, B: 0.0, C: 0.0}, PROPOSALS)
    assert [type(step) for step in steps] == [Propose, Score, Extend] * 4 + [Score]
    assert {len(step.beams) for step in steps[:-1] if isinstance(step, Score)} == {6}
    assert all(step.last_roots for step in steps if isinstance(step, Extend))
    assert len(found.beams) == 2


def test_the_stochastic_form_draws_by_softmax():
    counts = {A: 0, B: 0}
    for seed in range(400):
        _, found = drive(
            ARGS(top_k=2, weight=1.0, temperature=0.5), task(max_tokens=1, seed=seed), {A: 0.0, B: 0.8}, PROPOSALS[:2]
        )
        counts[found.best.tokens[0]] += 1
    share = 1 / (1 + math.exp((-0.5 - (-1.0 + 0.8)) / 0.5))
    assert counts[B] / 400 == pytest.approx(share, abs=0.08)


def test_the_end_token_is_a_candidate_like_any_other():
    _, found = drive(ARGS(), task(), {A: 0.0, END: 5.0}, [(A, -0.1), (END, -2.0)])
    assert (found.best.tokens, found.best.finish, found.best.reward) == ((END,), "stop", 5.0)


def test_no_answer_ends_before_min_tokens():
    job = task(max_tokens=9)
    job.sampling = replace(job.sampling, min_tokens=3)
    steps, found = drive(ARGS(top_k=2), job, {A: 0.0, B: 0.0, END: 9.0}, [(END, -0.1), (A, -1.0), (B, -2.0)])
    assert found.best.tokens == (A, A, A, END)
    assert {step.k for step in steps if isinstance(step, Propose)} == {3}
    assert max(len(step.beams) for step in steps if isinstance(step, Score)) == 2


def test_a_reward_silent_on_beginnings_leaves_the_likeliest_tokens():
    steps, found = drive(ARGS(), task(max_tokens=3), {}, PROPOSALS)
    assert found.best.tokens == (A, A, A)
    assert UNJUDGED in [step for step in steps if isinstance(step, Remark)]


def test_the_reward_steers_the_text():
    sea = keyword_reward("sea")

    def count(weight):
        *_, last = runner(ARGS(top_k=10, weight=weight), reward=sea, min_tokens=20, max_tokens=20).run()
        return last.outcome.best.reward

    assert count(3.0) > count(0.0)


def test_one_call_judges_all_candidates_of_a_step():
    calls = []

    def counting(messages, responses):
        calls.append(len(responses))
        return [0.0] * len(responses)

    run = runner(ARGS(top_k=6, temperature=1.0, n=2), reward=counting, min_tokens=12, max_tokens=12)
    *_, last = run.run()
    assert len(calls) == 12
    assert max(calls) == 12
    assert run.ledger.decoded == 24 == sum(len(beam.tokens) for beam in last.outcome.beams)


def test_the_policy_pays_for_one_token_a_step():
    class Remembering(ScriptedPolicy):
        """Has all but the last token of a begun answer in memory; 4 marks where an answer begins."""

        def propose(self, prefixes, k, among=None):
            future = super().propose(prefixes, k, among)
            known = [0 if prefix[-1] == 4 else len(prefix) - 1 for prefix in prefixes]
            paid = [
                replace(proposal, prefilled=len(prefix) - n, reused=n)
                for proposal, prefix, n in zip(future.result(), prefixes, known, strict=True)
            ]
            future = type(future)()
            future.set_result(paid)
            return future

    run = runner(ARGS(top_k=3), policy=Remembering(), min_tokens=10, max_tokens=10)
    grown = [event for event in run.run() if isinstance(event, Grown)]
    assert [event.decoded for event in grown] == [1] * 10
    assert [event.prefilled for event in grown] == [len(run.task.prompt) - 1] + [0] * 9
    assert run.ledger.prefilled == len(run.task.prompt) - 1


def test_its_text_streams_token_by_token():
    run = runner(ARGS(top_k=4), watch=True, min_tokens=10, max_tokens=10)
    committed = CommittedText(run.task.text)
    pieces = [(type(event), committed.feed(event)) for event in run.run()]
    assert [bool(piece) for kind, piece in pieces if kind is Grown] == [True] * 10
    assert not any(piece for kind, piece in pieces if kind in (Scored, TokensDrawn))


def test_each_token_is_a_round_of_the_trace():
    run = runner(ARGS(top_k=3), min_tokens=5, max_tokens=5)
    writer = TraceWriter(None, run.task, run.search, model="scripted", reward="erratic")
    for event in run.run():
        writer.write(event)
    (trace,) = traces(writer.records)
    assert [len(beam.tokens) for each in trace.rounds for beam in each.beams] == [1, 2, 3, 4, 5]
    assert trace.cost["decoded"] == run.ledger.decoded == 5
    assert trace.rounds[-1].beams[0].reward == trace.outcome.best.reward


def test_a_limit_leaves_what_was_chosen():
    *_, last = runner(ARGS(top_k=4), min_tokens=30, budget=Budget(tokens=7)).run()
    *_, whole = runner(ARGS(top_k=4), min_tokens=30).run()
    assert last.stopped == "budget"
    assert last.outcome.best.tokens == whole.outcome.best.tokens[:7]


def test_the_description_of_a_step_is_that_of_a_policy_which_draws_the_same():
    job = task(max_tokens=30)
    job.sampling = Sampling(max_tokens=3, stop=("b",), min_tokens=2)
    beam = job.root()
    assert [job.extend(beam, token).finish for token in (A, B, END)] == [None, None, "stop"]
    longer = job.extend(job.extend(beam, A, -0.5), A, -0.25)
    assert (longer.id, longer.tokens, longer.logprob, longer.finish) == (beam.id, (A, A), -0.75, None)
    assert job.extend(longer, A).finish == "length"
    assert job.extend(longer, B).finish == "stop"
    assert job.text(job.extend(longer, B)) == " a a "


def test_a_grammar_is_refused():
    job = task()
    job.sampling = Sampling(constraint=Constraint("regex", "a+"))
    with pytest.raises(ConfigurationError, match="ARGS cannot follow a grammar; use another search"):
        next(ARGS().run(job))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"weight": -1.0}, "weight=-1.0 must be at least 0"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"n": 0}, "n=0"),
        ({"n": 3}, "n=3 texts would all be the same at temperature=0; set a temperature, or n=1"),
    ],
)
def test_impossible_values_are_refused(fields, words):
    with pytest.raises(ConfigurationError, match=words):
        ARGS(**fields)
