"""What every search must hold to; see `langchain_darwin.testing.contracts`. Everything runs on the scripted policy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from langchain_darwin.chat.streaming import CommittedText
from langchain_darwin.rewards import as_reward
from langchain_darwin.search.base import (
    Beam,
    Event,
    Finished,
    Grown,
    Outcome,
    Scored,
    Search,
    Started,
    TokensDrawn,
    describe,
)
from langchain_darwin.search.driver.runner import Budget
from langchain_darwin.testing.contracts.runs import (
    RecordingPolicy,
    answers_in,
    collect,
    erratic,
    outcome,
    rewriter,
    runner,
    timeless,
)
from langchain_darwin.testing.scripted_policy import ScriptedPolicy
from langchain_darwin.trace import Memory, from_record, to_record

SEEDS = range(3)


class SearchContract:
    """Tests of one search.

    Attributes:
        maximises: Whether the answer is the finished one with the highest reward of all that were judged.
        draws: Whether another seed gives another answer.
    """

    maximises = True
    draws = True

    @pytest.fixture
    def search(self) -> Any:
        raise NotImplementedError

    def test_it_is_a_frozen_dataclass_that_can_be_written_down(self, search: Any) -> None:
        assert replace(search) == search
        assert hash(replace(search)) == hash(search)
        assert json.loads(json.dumps(describe(search))) == describe(search)
        with pytest.raises(FrozenInstanceError):
            setattr(search, fields(search)[0].name, None)
        assert isinstance(search, Search)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_starts_once_and_ends_once_with_whole_answers(self, search: Any, seed: int) -> None:
        run = runner(search, seed=seed)
        events = list(run.run())
        assert [isinstance(event, Started) for event in events] == [True] + [False] * (len(events) - 1)
        assert [isinstance(event, Finished) for event in events] == [False] * (len(events) - 1) + [True]
        assert run.stopped is None
        assert isinstance(outcome(events), Outcome)
        assert all(beam.complete and not beam.aside for beam in outcome(events).beams)
        ids = [beam.id for beam in outcome(events).beams]
        assert len(set(ids)) == len(ids)

    def test_it_leaves_no_state_behind(self, search: Any) -> None:
        first = timeless(runner(search).run())
        assert timeless(runner(search).run()) == first

    def test_another_seed_gives_another_run(self, search: Any) -> None:
        answers = {outcome(list(runner(search, seed=seed).run())).best.tokens for seed in SEEDS}
        assert (len(answers) > 1) == self.draws

    def test_both_drivers_give_the_same_events(self, search: Any) -> None:
        for watch in (False, True):
            blocking = timeless(runner(search, watch=watch).run())
            awaited = timeless(asyncio.run(collect(runner(search, watch=watch))))
            assert _without_drawn(awaited) == _without_drawn(blocking)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_no_finished_answer_is_lost(self, search: Any, seed: int) -> None:
        if not self.maximises:
            pytest.skip("this search does not look for the highest reward")
        events = list(runner(search, seed=seed).run())
        judged: list[Any] = [beam for beam in answers_in(events) if beam.complete and beam.reward is not None]
        assert outcome(events).best.reward == max(beam.reward for beam in judged)
        finished = {
            beam.tokens
            for event in events
            if isinstance(event, Grown)
            for beam in event.beams
            if beam.complete and not beam.aside
        }
        assert finished == {beam.tokens for beam in outcome(events).beams}

    @pytest.mark.parametrize("limits", [{"max_tokens": 7}, {"max_tokens": 30, "min_tokens": 30}])
    def test_lengths_are_kept_to(self, search: Any, limits: dict[str, Any]) -> None:
        events = list(runner(search, **limits).run())
        for beam in answers_in(events):
            assert len(beam.tokens) <= limits["max_tokens"]
            assert not beam.complete or len(beam.tokens) >= limits.get("min_tokens", 0)
        assert outcome(events).best.complete

    def test_the_context_is_kept_to(self, search: Any) -> None:
        policy = ScriptedPolicy(rewriter, length=20, context_length=60)
        events = list(runner(search, policy=policy, min_tokens=200, max_tokens=200).run())
        assert all(len(beam.prompt) + len(beam.tokens) <= 60 for beam in answers_in(events))
        assert outcome(events).best.finish == "length"

    def test_stop_strings_end_answers(self, search: Any) -> None:
        run = runner(search, stop=("sea",), max_tokens=100)
        events = list(run.run())
        for beam in answers_in(events):
            text = run.task.codec.decode(beam.tokens)
            assert ("sea" not in text) or beam.finish == "stop"
        assert not any("sea" in run.task.text(beam) for beam in outcome(events).beams)

    @pytest.mark.parametrize("tokens", [60, 100, 150, 10_000])
    def test_a_token_budget_is_kept_to(self, search: Any, tokens: int) -> None:
        run = runner(search, budget=Budget(tokens=tokens))
        events = list(run.run())
        assert run.ledger.decoded <= tokens
        assert run.stopped in (("budget", None) if tokens < 1000 else (None,))
        assert outcome(events).best.tokens
        assert run.ledger.decoded == sum(event.decoded for event in events if isinstance(event, Grown))

    def test_a_time_budget_is_kept_to(self, search: Any) -> None:
        slow = ScriptedPolicy(rewriter, seconds_per_token=0.004)
        started = time.monotonic()
        *_, last = runner(search, policy=slow, max_tokens=2000, min_tokens=2000, budget=Budget(0.1)).run()
        assert time.monotonic() - started < 1.5
        assert last.stopped == "timeout"
        assert last.outcome.best.tokens

    def test_closing_it_cancels_what_is_under_way(self, search: Any) -> None:
        policy = RecordingPolicy(ScriptedPolicy(rewriter, seconds_per_token=0.004))
        run = runner(search, policy=policy, max_tokens=2000, min_tokens=2000, watch=True)
        events = run.run()
        for _ in range(4):
            next(events)
        events.close()
        assert all(future.done() for future in policy.futures)

    def test_cancelling_its_task_cancels_what_is_under_way(self, search: Any) -> None:
        policy = RecordingPolicy(ScriptedPolicy(rewriter, seconds_per_token=0.004))
        run = runner(search, policy=policy, max_tokens=2000, min_tokens=2000)

        async def cancelled() -> None:
            task = asyncio.create_task(collect(run))
            await asyncio.sleep(0.03)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
        assert all(future.done() for future in policy.futures)

    def test_a_reward_for_whole_answers_sees_no_beginnings(self, search: Any) -> None:
        seen: list[Any] = []

        def whole(messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
            seen.extend(responses)
            return erratic(messages, responses)

        events = list(runner(search, reward=as_reward(whole, partial=False), min_tokens=12).run())
        assert all(response.response_metadata["finish_reason"] for response in seen)
        assert outcome(events).best.complete

    def test_a_reward_that_needs_some_tokens_sees_no_fewer(self, search: Any) -> None:
        seen: list[Any] = []

        def patient(messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
            seen.extend(response.response_metadata for response in responses)
            return erratic(messages, responses)

        list(runner(search, reward=as_reward(patient, min_tokens=10)).run())
        assert all(facts["finish_reason"] or facts["tokens"] >= 10 for facts in seen)

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("stop", [(), ("old far",)])
    def test_what_is_streamed_is_the_beginning_of_the_answer(
        self, search: Search, seed: int, stop: tuple[str, ...]
    ) -> None:
        run = runner(search, seed=seed, watch=True, stop=stop)
        committed, pieces = CommittedText(run.task.text, stop), []
        for event in run.run():
            pieces.append(committed.feed(event))
        final = run.task.text(event.outcome.best)
        assert "".join(pieces) == committed.committed
        assert final.startswith(committed.committed)

    def test_a_beam_only_grows(self, search: Any) -> None:
        last: dict[int | None, Beam] = {}
        for event in runner(search).run():
            grown = event.beams if isinstance(event, Grown) else ()
            for beam in grown:
                before = last.get(beam.id, last.get(beam.parent))
                assert before is None or beam.tokens[: len(before.tokens)] == before.tokens
            last |= {beam.id: beam for beam in grown}

    def test_a_trace_tells_it_all(self, search: Any) -> None:
        events = list(runner(search).run())
        writer, reader = Memory(), Memory()
        records = [json.loads(json.dumps(to_record(event, writer))) for event in events[1:]]
        assert [from_record(record, reader) for record in records] == events[1:]

    def test_a_conversation_without_a_question_is_no_obstacle(self, search: Any) -> None:
        events = list(runner(search, turns=[{"role": "system", "content": "Be brief."}]).run())
        assert outcome(events).best.complete

    def test_equal_rewards_are_no_obstacle(self, search: Any) -> None:
        events = list(runner(search, reward=lambda _, responses: [1.0] * len(responses)).run())
        assert outcome(events).best.complete
        assert all(beam.reward in (None, 1.0) for event in events if isinstance(event, Scored) for beam in event.beams)


def _without_drawn(events: Sequence[Event]) -> list[Event]:
    """Tokens of different beams may be told of in any order."""
    return [event for event in events if not isinstance(event, TokensDrawn)]
