"""What every policy must hold to; see `langchain_darwin.testing.contracts`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import pytest

from langchain_darwin.errors import ConfigurationError, ContextOverflowError
from langchain_darwin.policies.base import Growth, Job, Policy, Sampling

GREEDY = Sampling(temperature=0, max_tokens=12, min_tokens=12)
FREE = Sampling(temperature=1.0, top_k=0, max_tokens=12, min_tokens=12)
PAPER = replace(FREE, temperature=0.7, top_k=40)
NUCLEUS = replace(FREE, top_p=0.8)
QUESTIONS = ("Name a fruit.", "Why is the sky blue? Explain it to a child.", "Write one line about the sea.")


def _texts(growths: list[Growth]) -> list[tuple[int, ...]]:
    return [growth.tokens for growth in growths]


class PolicyContract:
    """Tests of one policy. `timeout` is how long a future may take, in seconds."""

    timeout = 120

    @pytest.fixture
    def prompts(self, policy: Policy) -> list[tuple[int, ...]]:
        return [policy.codec.encode_chat([{"role": "user", "content": text}]) for text in QUESTIONS]

    def grow(self, policy: Policy, *jobs: Job) -> list[Growth]:
        return policy.submit(jobs).result(self.timeout)

    def job(self, prompt: tuple[int, ...], sampling: Sampling = GREEDY, key: int = 1, **changes: Any) -> Job:
        return replace(Job(prompt, len(prompt), sampling, key), **changes)

    def test_it_is_a_policy(self, policy: Policy) -> None:
        assert isinstance(policy, Policy)
        assert policy.context_length > 100
        assert policy.name

    def test_two_grows_equal_one(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        for sampling in (GREEDY, FREE, PAPER, NUCLEUS):
            [whole] = self.grow(policy, self.job(prompts[1], sampling))
            [first] = self.grow(policy, self.job(prompts[1], sampling, tokens=5))
            [second] = self.grow(policy, self.job(prompts[1], sampling, prefix=prompts[1] + first.tokens))
            assert (first.finish, second.finish, whole.finish) == (None, "length", "length")
            assert first.tokens + second.tokens == whole.tokens
            assert first.logprob + second.logprob == pytest.approx(whole.logprob, abs=1e-2)

    def test_a_batch_equals_one_by_one(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        jobs = [
            self.job(prompt, sampling, key=7 * index + 3)
            for index, (prompt, sampling) in enumerate(
                zip([*prompts, prompts[0]], (GREEDY, FREE, PAPER, NUCLEUS), strict=True)
            )
        ]
        assert _texts(self.grow(policy, *jobs)) == [self.grow(policy, job)[0].tokens for job in jobs]

    def test_keys_tell_texts_apart(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        jobs = [self.job(prompts[2], FREE, key=key) for key in (1, 2, -(2**63), 1)]
        one, two, three, again = _texts(self.grow(policy, *jobs))
        assert one == again
        assert len({one, two, three}) == 3

    def test_what_else_runs_makes_no_difference(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        job = self.job(prompts[0], FREE, key=5)
        alone = self.grow(policy, job)[0].tokens
        found: dict[int, tuple[int, ...]] = {}

        def ask(name: int, delay: float) -> None:
            time.sleep(delay)
            found[name] = self.grow(policy, self.job(prompts[name % 3], FREE, key=name), job)[1].tokens

        threads = [threading.Thread(target=ask, args=(i, 0.05 * i)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.timeout)
        assert found == dict.fromkeys(range(4), alone)

    def test_a_copied_row_goes_on_as_its_donor(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        [start] = self.grow(policy, self.job(prompts[1], PAPER, tokens=4))
        job = self.job(prompts[1], PAPER, prefix=prompts[1] + start.tokens)
        donor, copy = _texts(self.grow(policy, job, job))
        assert donor == copy

    def test_max_tokens_counts_from_the_start_of_the_response(
        self, policy: Policy, prompts: list[tuple[int, ...]]
    ) -> None:
        [growth] = self.grow(policy, self.job(prompts[0]))
        assert (len(growth.tokens), growth.finish) == (12, "length")
        [rest] = self.grow(policy, self.job(prompts[0], prefix=prompts[0] + growth.tokens[:10]))
        assert (rest.tokens, rest.finish) == (growth.tokens[10:], "length")
        [nothing] = self.grow(policy, self.job(prompts[0], prefix=prompts[0] + growth.tokens))
        assert (nothing.tokens, nothing.finish, nothing.logprob) == ((), "length", 0.0)

    def test_end_tokens_end_and_min_tokens_puts_it_off(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        end = min(policy.codec.end_ids)
        ended = prompts[0] + (end,)
        [growth] = self.grow(policy, self.job(prompts[0], prefix=ended))
        assert (growth.tokens, growth.finish) == ((), "stop")
        many = replace(FREE, temperature=2.0, max_tokens=30, min_tokens=30)
        for growth in self.grow(policy, *(self.job(prompts[0], many, key=key) for key in range(4))):
            assert len(growth.tokens) == 30
            assert not policy.codec.end_ids & set(growth.tokens)

    def test_a_stop_string_ends_across_token_borders_and_grows(
        self, policy: Policy, prompts: list[tuple[int, ...]]
    ) -> None:
        open_end = replace(GREEDY, min_tokens=0)
        [growth] = self.grow(policy, self.job(prompts[1], open_end))
        written = [policy.codec.decode(growth.tokens[:n]) for n in range(len(growth.tokens) + 1)]
        stop = written[7][len(written[5]) - 1 :][:-1] or written[7][len(written[5]) :]
        stopped = replace(open_end, stop=(stop,))
        first_hit = next(n for n, text in enumerate(written) if stop in text)
        [cut] = self.grow(policy, self.job(prompts[1], stopped))
        assert (cut.tokens, cut.finish) == (growth.tokens[:first_hit], "stop")
        resumed = self.job(prompts[1], stopped, prefix=prompts[1] + cut.tokens[:-1])
        assert self.grow(policy, resumed)[0].finish == "stop"
        [late] = self.grow(policy, self.job(prompts[1], replace(stopped, min_tokens=first_hit + 1)))
        assert late.tokens[:first_hit] == cut.tokens
        assert len(late.tokens) > first_hit

    def test_on_tokens_tells_every_token_in_order(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        told: dict[int, list[int]] = {0: [], 1: []}
        jobs = [self.job(prompts[0]), self.job(prompts[1], PAPER)]
        growths = policy.submit(jobs, lambda index, ids: told[index].extend(ids)).result(self.timeout)
        assert [tuple(told[0]), tuple(told[1])] == _texts(growths)

    def test_a_deadline_returns_what_there_is(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        long = Sampling(max_tokens=5000, min_tokens=5000)
        begun = time.monotonic()
        [growth] = self.grow(policy, self.job(prompts[0], long, deadline=begun + 1.5))
        assert growth.finish == "timeout"
        assert len(growth.tokens) < 5000
        [late] = self.grow(policy, self.job(prompts[0], long, deadline=begun))
        assert (late.tokens, late.finish) == ((), "timeout")

    def test_cancelling_frees_the_policy(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        told: list[int] = []
        long = Sampling(max_tokens=5000, min_tokens=5000)
        future = policy.submit([self.job(prompts[0], long)], lambda _, ids: told.extend(ids))
        while len(told) < 2:
            time.sleep(0.01)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(1)
        assert len(self.grow(policy, self.job(prompts[1]))[0].tokens) == 12
        heard = len(told)
        assert self.grow(policy, self.job(prompts[1]))
        assert len(told) == heard

    def test_proposals_are_sorted_and_agree_with_growth(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        [one, two] = policy.propose(prompts[:2], 5).result(self.timeout)
        assert len(one.tokens) == len(one.logprobs) == 5
        assert list(two.logprobs) == sorted(two.logprobs, reverse=True)
        assert [one.tokens[:1], two.tokens[:1]] == _texts(
            self.grow(policy, *(self.job(prompt, tokens=1) for prompt in prompts[:2]))
        )
        [chosen] = policy.propose(prompts[:1], 1, among=one.tokens[2::-1]).result(self.timeout)
        assert chosen.tokens == one.tokens[:3]
        assert chosen.logprobs == pytest.approx(one.logprobs[:3], abs=1e-3)

    def test_bad_jobs_are_refused_and_leave_it_usable(self, policy: Policy, prompts: list[tuple[int, ...]]) -> None:
        with pytest.raises(ConfigurationError, match="empty"):
            self.grow(policy, self.job(prompts[0], prefix=(), start=0))
        with pytest.raises(ConfigurationError, match="start=999"):
            self.grow(policy, self.job(prompts[0], start=999))
        with pytest.raises(ConfigurationError, match="1000000000"):
            self.grow(policy, self.job(prompts[0]), self.job(prompts[0], prefix=(1_000_000_000,), start=0))
        too_long = prompts[0] * (policy.context_length // len(prompts[0]) + 1)
        with pytest.raises(ContextOverflowError, match="context"):
            self.grow(policy, self.job(prompts[0], prefix=too_long))
        assert len(self.grow(policy, self.job(prompts[0]))[0].tokens) == 12

    def test_no_jobs_are_no_work(self, policy: Policy) -> None:
        assert self.grow(policy) == []
