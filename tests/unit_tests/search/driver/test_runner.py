"""The runner on the scripted policy: both drivers, limits, what reaches the reward, what is left behind."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import pytest
from langchain_core.messages import HumanMessage

from langchain_darwin.chat.invocation import response_message
from langchain_darwin.dialects.response_reader import Reading
from langchain_darwin.errors import ConfigurationError, RewardError, RewardTimeoutError, SearchTimeoutError
from langchain_darwin.policies.base import Sampling
from langchain_darwin.rewards import as_reward
from langchain_darwin.search.base import (
    Finished,
    Grow,
    Grown,
    Outcome,
    Propose,
    Remark,
    Score,
    Scored,
    Started,
    Task,
    TokensDrawn,
    ranked,
)
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.driver.runner import Budget, Runner
from langchain_darwin.testing import ScriptedPolicy, keyword_reward


def runner(search, reward=None, policy=None, sampling=None, **options):
    policy = policy or ScriptedPolicy()
    task = Task(
        [{"role": "user", "content": "Write a line"}], policy.codec, sampling or Sampling(max_tokens=30), seed=3
    )
    judge = as_reward(keyword_reward("sea") if reward is None else reward)
    return Runner(
        search,
        task,
        policy,
        judge,
        [HumanMessage("Write a line")],
        lambda beam: response_message(beam, Reading(task.text(beam))),
        **options,
    )


async def collect(run):
    return [event async for event in run.arun()]


def without_times(events):
    return [replace(event, seconds=0.0) if hasattr(event, "seconds") else event for event in events]


def test_best_of_n_is_started_grown_scored_finished():
    run = runner(BestOfN(n=3))
    events = list(run.run())
    assert [type(event) for event in events] == [Started, Grown, Scored, Finished]
    assert events[0] == Started({"search": "BestOfN", "n": 3, "batch": None}, 3, "Write a line", len(run.task.prompt))
    assert [beam.id for beam in events[1].beams] == [0, 1, 2]
    assert events[-1].stopped is None
    rewards = [beam.reward for beam in events[-1].outcome.beams]
    assert rewards == sorted(rewards, reverse=True)


async def test_both_drivers_yield_the_same_events():
    blocking = without_times(runner(BestOfN(n=3)).run())
    awaited = without_times(await collect(runner(BestOfN(n=3))))
    assert awaited == blocking


def test_watched_tokens_are_those_of_the_beams():
    run = runner(BestOfN(n=2), watch=True)
    drawn = {0: (), 1: ()}
    for event in run.run():
        if isinstance(event, TokensDrawn):
            drawn[event.beam] += event.tokens  # type: ignore[assignment]
    assert drawn == {beam.id: beam.tokens for beam in run.ledger.beams.values()}


def test_the_ledger_counts_what_was_drawn_and_judged():
    run = runner(BestOfN(n=3))
    list(run.run())
    beams = run.ledger.beams.values()
    assert run.ledger.decoded == sum(len(beam.tokens) for beam in beams)
    assert run.ledger.judged == len({beam.tokens for beam in beams})


@dataclass(frozen=True)
class Twice:
    """Grows in two steps, and scores the same beams twice at each."""

    def run(self, task):
        beams = yield Grow(task.roots(2), tokens=3)
        beams = yield Score(beams)
        beams = yield Score(beams)
        beams = yield Grow(beams)
        beams = yield Score(beams)
        beams = yield Score(beams)
        yield Remark("done")
        return Outcome(tuple(ranked(beams)))


def test_a_text_goes_to_the_reward_once():
    seen = []

    def reward(messages, responses):
        seen.extend((response.text, response.response_metadata["finish_reason"]) for response in responses)
        return [1.0] * len(responses)

    list(runner(Twice(), reward).run())
    assert len(seen) == len(set(seen)) == 4
    assert [finish for _, finish in seen] == [None, None, "stop", "stop"]


def test_a_reward_that_wants_whole_answers_is_not_shown_beginnings():
    whole = as_reward(lambda messages, responses: [len(r.text) for r in responses], partial=False)
    events = list(runner(Twice(), whole).run())
    scored = [event for event in events if isinstance(event, Scored)]
    assert [beam.reward for beam in scored[0].beams] == [None, None]
    assert all(beam.reward for beam in scored[-1].beams)


def test_a_token_budget_ends_the_search_with_what_there_is():
    run = runner(Twice(), budget=Budget(tokens=8))
    *_, last = run.run()
    assert last.stopped == "budget"
    assert run.ledger.decoded == 8
    assert [len(beam.tokens) for beam in last.outcome.beams] == [4, 4]


def test_a_deadline_ends_the_search_with_what_there_is():
    slow = ScriptedPolicy(seconds_per_token=0.02)
    run = runner(BestOfN(n=2), policy=slow, sampling=Sampling(max_tokens=500, min_tokens=500), budget=Budget(0.2))
    started = time.monotonic()
    *_, last = run.run()
    assert time.monotonic() - started < 2
    assert last.stopped == "timeout"
    assert {beam.finish for beam in last.outcome.beams} == {"timeout"}
    assert all(beam.tokens for beam in last.outcome.beams)


def test_a_deadline_before_the_first_token_says_so():
    slow = ScriptedPolicy(seconds_per_token=0.2)
    with pytest.raises(
        SearchTimeoutError,
        match=r"no token of an answer was decoded within Budget\(seconds=0.01, tokens=None\); allow more",
    ):
        list(runner(BestOfN(n=2), policy=slow, budget=Budget(0.01)).run())


def test_a_reward_still_busy_at_the_deadline_loses_no_answer():
    def hangs(messages, responses):
        time.sleep(5)
        return [0.0] * len(responses)

    started = time.monotonic()
    *_, last = runner(BestOfN(n=2), hangs, budget=Budget(0.1)).run()
    assert time.monotonic() - started < 3
    assert last.stopped == "timeout"
    assert [beam.finish for beam in last.outcome.beams] == ["stop", "stop"]


async def test_a_reward_past_its_own_timeout_is_an_error():
    def hangs(messages, responses):
        time.sleep(1)
        return [0.0] * len(responses)

    slow = as_reward(hangs, timeout=0.05)
    with pytest.raises(RewardTimeoutError, match="hangs"):
        list(runner(BestOfN(n=2), slow).run())
    with pytest.raises(RewardTimeoutError, match="hangs"):
        await collect(runner(BestOfN(n=2), slow))


def test_a_failing_reward_leaves_the_beams_in_the_ledger():
    def breaks(messages, responses):
        msg = "no luck"
        raise LookupError(msg)

    run = runner(BestOfN(n=2), breaks)
    with pytest.raises(RewardError, match="breaks"):
        list(run.run())
    assert [beam.complete for beam in run.ledger.best_so_far()] == [True, True]


def endless(seconds=0.01):
    return ScriptedPolicy(seconds_per_token=seconds), Sampling(max_tokens=4000, min_tokens=4000)


def test_closing_the_run_cancels_the_policy():
    policy, sampling = endless()
    futures = []
    run = runner(BestOfN(n=2), policy=recording(policy, futures), sampling=sampling, watch=True)
    events = run.run()
    while not isinstance(next(events), TokensDrawn):
        pass
    events.close()
    assert [future.cancelled() for future in futures] == [True]


async def test_cancelling_the_task_cancels_the_policy():
    policy, sampling = endless()
    futures = []
    task = asyncio.create_task(collect(runner(BestOfN(n=2), policy=recording(policy, futures), sampling=sampling)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [future.cancelled() for future in futures] == [True]


def recording(policy, futures):
    """The policy, with every future it hands out noted."""

    class Recording:
        name, codec, context_length = policy.name, policy.codec, policy.context_length

        def submit(self, jobs, on_tokens=None):
            futures.append(policy.submit(jobs, on_tokens))
            return futures[-1]

    return Recording()


def test_a_beam_that_fills_the_context_ends_by_length():
    policy = ScriptedPolicy(context_length=12)
    *_, last = runner(BestOfN(n=1), policy=policy, sampling=Sampling(max_tokens=100, min_tokens=100)).run()
    assert (last.outcome.best.finish, last.stopped) == ("length", None)
    assert len(last.outcome.best.prompt) + len(last.outcome.best.tokens) == 12


@dataclass(frozen=True)
class Proposals:
    """Asks for next tokens only."""

    def run(self, task):
        beams = task.roots(2)
        proposals = yield Propose(beams, k=2)
        yield Remark(" ".join(str(len(proposal.tokens)) for proposal in proposals))
        beams = yield Grow(beams, tokens=1)
        return Outcome(tuple(beams))


async def test_proposals_reach_the_search():
    assert Remark("2 2") in list(runner(Proposals()).run())
    assert Remark("2 2") in await collect(runner(Proposals()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": 0}, "seconds=0 must be above 0"),
        ({"seconds": -1}, "seconds=-1 must be above 0"),
        ({"tokens": 0}, "tokens=0 must be at least 1"),
    ],
)
def test_impossible_budgets_are_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        Budget(**values)


def test_the_reward_sees_the_original_conversation():
    conversations = []

    def reward(messages, responses):
        conversations.append(messages)
        return [0.0 for _ in responses]

    list(runner(Twice(), reward).run())
    assert conversations == [[HumanMessage("Write a line")]] * len(conversations)
    assert {type(messages[0]) for messages in conversations} == {HumanMessage}
