"""What every reward must hold to; see `langchain_darwin.testing.contracts`. Searches run on the scripted policy."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_darwin.chat.invocation import response_message
from langchain_darwin.dialects.response_reader import Reading
from langchain_darwin.errors import RewardError, RewardTimeoutError
from langchain_darwin.policies.base import Sampling
from langchain_darwin.rewards import as_reward, is_unfinished
from langchain_darwin.rewards.base import Reward
from langchain_darwin.search.base import Beam, Event, Finished, Task
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.driver.runner import Budget, Runner
from langchain_darwin.testing.scripted_policy import ScriptedPolicy

MESSAGES: list[BaseMessage] = [HumanMessage("Write a line about the old river.")]
TEXTS = (
    "The old river runs to the sea.",
    "No.",
    "It rains, and the river rises; the boats are tied up, and somebody sings on the bridge until the night comes.",
    '{"line": "The river is old."}',
)
POLICY = ScriptedPolicy(length=20)


def finished(text: str, finish: str | None = "stop") -> AIMessage:
    """Return a response that ended, or one under way (`finish=None`)."""
    tokens = max(1, len(text.split()))
    return AIMessage(text, response_metadata={"finish_reason": finish, "tokens": tokens, "logprob": -2.0 * tokens})


class RewardContract:
    """Tests of one reward.

    Attributes:
        tolerance: How much scores of one text may differ between batches; models round.
    """

    tolerance = 1e-9

    def make(self) -> Any:
        """Return anything that is accepted as a reward, equal every time."""
        raise NotImplementedError

    @pytest.fixture
    def reward(self) -> Reward:
        return as_reward(self.make()).bind(POLICY)

    @pytest.fixture
    def answers(self) -> list[AIMessage]:
        return [finished(text) for text in TEXTS]

    def same(self, scores: Iterable[float]) -> Any:
        return pytest.approx(list(scores), abs=self.tolerance, rel=self.tolerance)

    def test_it_gives_one_finite_number_per_answer(self, reward: Reward, answers: list[AIMessage]) -> None:
        scores: list[Any] = reward.score(MESSAGES, answers)
        assert len(scores) == len(answers)
        assert all(isinstance(score, float) and math.isfinite(score) for score in scores)

    def test_no_answers_have_no_scores(self, reward: Reward) -> None:
        assert reward.score(MESSAGES, []) == []
        assert asyncio.run(reward.ascore(MESSAGES, [])) == []

    def test_scores_belong_to_texts_and_not_to_places(self, reward: Reward, answers: list[AIMessage]) -> None:
        scores = reward.score(MESSAGES, answers)
        assert reward.score(MESSAGES, answers[::-1]) == self.same(scores[::-1])
        assert [reward.score(MESSAGES, [answer])[0] for answer in answers] == self.same(scores)
        assert reward.score(MESSAGES, [*answers, answers[0]]) == self.same([*scores, scores[0]])

    def test_asked_again_it_says_the_same(self, reward: Reward, answers: list[AIMessage]) -> None:
        first = reward.score(MESSAGES, answers)
        reward.score(MESSAGES, answers[1:])
        assert reward.score(MESSAGES, answers) == self.same(first)

    def test_async_equals_sync(self, reward: Reward, answers: list[AIMessage]) -> None:
        scores = reward.score(MESSAGES, answers)
        assert asyncio.run(reward.ascore(MESSAGES, answers)) == self.same(scores)

    def test_it_leaves_messages_as_they_are(self, reward: Reward, answers: list[AIMessage]) -> None:
        before = copy.deepcopy((MESSAGES, answers))
        reward.score(MESSAGES, answers)
        assert (MESSAGES, answers) == before

    def test_it_may_be_asked_from_many_threads(self, reward: Reward, answers: list[AIMessage]) -> None:
        expected = reward.score(MESSAGES, answers)
        found: list[list[float]] = []
        threads = [threading.Thread(target=lambda: found.append(reward.score(MESSAGES, answers))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [self.same(expected)] * 4

    def test_it_judges_beginnings_if_it_says_so(self, reward: Reward) -> None:
        if not reward.partial:
            pytest.skip("this reward judges finished answers only")
        growing = [finished(text[: len(text) // 2], None) for text in TEXTS] + [finished("", None)]
        assert all(map(math.isfinite, reward.score(MESSAGES, growing)))

    def test_a_search_asks_it_once_about_each_text_and_about_nothing_it_may_not_judge(self, reward: Reward) -> None:
        asked = Recording(reward)
        *_, last = search(asked, min_tokens=as_reward(self.make()).min_tokens)
        keys = [
            (response.text, is_unfinished(response), response.response_metadata["tokens"]) for response in asked.seen
        ]
        assert isinstance(last, Finished)
        assert last.outcome.best.reward is not None
        assert math.isfinite(last.outcome.best.reward)
        assert len(set(keys)) == len(keys)
        assert reward.partial or not any(map(is_unfinished, asked.seen))
        assert all(not unfinished or tokens >= reward.min_tokens for _, unfinished, tokens in keys)

    def test_its_failure_bears_its_name(self, reward: Reward, answers: list[AIMessage]) -> None:
        broken = as_reward(Failing(reward, times=99))
        with pytest.raises(RewardError, match="no route") as caught:
            broken.score(MESSAGES, answers)
        assert caught.value.reward == reward.name
        with pytest.raises(RewardError, match="no route"):
            asyncio.run(broken.ascore(MESSAGES, answers))

    def test_a_passing_failure_can_be_outlasted(
        self, reward: Reward, answers: list[AIMessage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        patient = as_reward(Failing(reward, times=1), retries=1)
        assert patient.score(MESSAGES, answers) == self.same(reward.score(MESSAGES, answers))

    def test_it_can_be_given_a_time_limit(self, reward: Reward, answers: list[AIMessage]) -> None:
        slow = as_reward(Slow(reward), timeout=0.05)
        with pytest.raises(RewardTimeoutError, match=r"within 0\.05 s"):
            slow.score(MESSAGES, answers)
        with pytest.raises(RewardTimeoutError, match=r"within 0\.05 s"):
            asyncio.run(slow.ascore(MESSAGES, answers))

    def test_its_identity_is_stable_and_can_be_written_down(self) -> None:
        first, second = as_reward(self.make()), as_reward(self.make())
        assert json.loads(json.dumps(first.identity())) == first.identity() == second.identity()
        assert first.bind(POLICY).identity() == second.bind(POLICY).identity()
        assert as_reward(first, version="2").identity() != first.identity()


def search(reward: Any, **sampling: Any) -> Iterator[Event]:
    """Yield the events of a short search on the scripted policy."""
    task = Task(
        [{"role": "user", "content": MESSAGES[0].text}], POLICY.codec, Sampling(max_tokens=24, **sampling), seed=3
    )

    def respond(beam: Beam) -> AIMessage:
        return response_message(beam, Reading(task.text(beam)))

    algorithm = Darwin(beams=3, keep=2, period=6, mutation="none")
    return Runner(algorithm, task, POLICY, as_reward(reward), MESSAGES, respond, Budget()).run()


class Delegating:
    """A judge in front of a reward."""

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self.name, self.partial, self.min_tokens = reward.name, reward.partial, reward.min_tokens


class Recording(Delegating):
    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self.seen: list[AIMessage] = []

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        self.seen += responses
        return self.reward.score(messages, responses)


class Failing(Delegating):
    """Fails the first few times."""

    def __init__(self, reward: Reward, times: int) -> None:
        super().__init__(reward)
        self.left = times

    def _fail(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise OSError("no route")

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        self._fail()
        return self.reward.score(messages, responses)

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        self._fail()
        return await self.reward.ascore(messages, responses)


class Slow(Delegating):
    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        time.sleep(0.3)
        return self.reward.score(messages, responses)

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        await asyncio.sleep(0.3)
        return await self.reward.ascore(messages, responses)
