"""`Reward`: whatever a judge does, the caller gets checked floats or an error that names it."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import re
import statistics
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.errors import ConfigurationError, ModelNotFound, RewardError, RewardTimeoutError
from langchain_darwin.rewards import Keywords, ScoreWithParts, as_reward, is_unfinished

MESSAGES = [HumanMessage("Name a colour.")]
RESPONSES = [AIMessage("Red."), AIMessage("Ultramarine."), AIMessage("Sea green.")]
CALLER = contextvars.ContextVar("CALLER", default="nobody")


def lengths(messages: list[Any], responses: list[AIMessage]) -> list[int]:
    return [len(response.text) for response in responses]


async def async_lengths(messages: list[Any], responses: list[AIMessage]) -> list[int]:
    await asyncio.sleep(0)
    return lengths(messages, responses)


def give(value: Any) -> Any:
    """A judge, plain, that returns `value`."""

    def judge(messages: list[Any], responses: list[AIMessage]) -> Any:
        return value

    return judge


def ask(driver: str, judge: Any, left: float | None = None, **settings: Any) -> list[float]:
    """Scores of `judge` with `settings`, by a caller that has `left` seconds."""
    reward = as_reward(judge, **settings)
    if driver == "sync":
        return reward.score(MESSAGES, RESPONSES, left)
    return asyncio.run(reward.ascore(MESSAGES, RESPONSES, left))


both_drivers = pytest.mark.parametrize("driver", ["sync", "async"])
both_judges = pytest.mark.parametrize("judge", [lengths, async_lengths])


@both_drivers
@both_judges
@pytest.mark.parametrize("left", [None, 30.0])
def test_any_judge_gives_the_same_scores_in_any_driver(driver: str, judge: Any, left: float | None) -> None:
    assert ask(driver, judge, left) == [4.0, 12.0, 10.0]


@both_drivers
@pytest.mark.parametrize(
    "values", [(1, 0, True), np.array([1, 0, 1]), torch.tensor([1.0, 0.0, 1.0]), [np.float32(1), False, 1]]
)
def test_numbers_of_any_kind_become_floats(driver: str, values: Any) -> None:
    scores = ask(driver, give(values))

    assert scores == [1.0, 0.0, 1.0]
    assert {type(score) for score in scores} == {float}


@both_drivers
def test_no_responses_need_no_call(driver: str) -> None:
    reward = as_reward(give("never asked"))

    assert reward.score(MESSAGES, []) == []
    assert asyncio.run(reward.ascore(MESSAGES, [])) == []


@both_drivers
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.1, float("nan"), 3], "returned nan for response 2 of 3: every score must be a finite number"),
        ([0.1, 2, float("-inf")], "returned -inf for response 3 of 3: every score must be a finite number"),
        ([None, 2, 3], "returned None for response 1 of 3: every score must be a finite number"),
        (["7", 2, 3], "returned '7' for response 1 of 3: every score must be a finite number"),
        ([10**400, 2, 3], "for response 1 of 3: every score must be a finite number"),
        ([[1.0, 2.0]] * 3, "returned [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]] for 3 responses: return one number per"),
        ([1, 2], "returned 2 scores for 3 responses: return one number per response, in their order"),
        (None, "returned None: return a list with one number per response"),
        (0.5, "returned 0.5: return a list with one number per response, or decorate"),
        ("0.5", "returned '0.5': return a list with one number per response"),
        ({"score": 1}, "returned {'score': 1}: return a list with one number per response"),
    ],
)
def test_what_is_not_a_number_per_response_is_an_error_that_says_so(driver: str, value: Any, message: str) -> None:
    with pytest.raises(RewardError) as caught:
        ask(driver, give(value), name="colourful")

    assert message in str(caught.value)
    assert str(caught.value).startswith("reward 'colourful' returned")
    assert caught.value.reward == "colourful"


@both_drivers
def test_a_coroutine_from_a_plain_function_is_an_error_that_says_so(driver: str) -> None:
    def judge(messages: list[Any], responses: list[AIMessage]) -> Any:
        return async_lengths(messages, responses)

    with pytest.raises(RewardError, match="returned a coroutine: declare it with `async def`"):
        ask(driver, judge)


async def async_failure(messages: list[Any], responses: list[AIMessage]) -> list[float]:
    return failure(messages, responses)


def failure(messages: list[Any], responses: list[AIMessage]) -> list[float]:
    raise KeyError("colour")


@both_drivers
@pytest.mark.parametrize("judge", [failure, async_failure])
@pytest.mark.parametrize("left", [None, 30.0])
def test_an_exception_is_chained_to_an_error_that_names_the_reward(driver: str, judge: Any, left: Any) -> None:
    with pytest.raises(RewardError, match=rf"reward '{judge.__name__}' raised KeyError: 'colour': ") as caught:
        ask(driver, judge, left)

    assert isinstance(caught.value.__cause__, KeyError)


@both_drivers
def test_errors_of_the_package_pass_unchanged(driver: str) -> None:
    def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        raise ModelNotFound("no such model")

    with pytest.raises(ModelNotFound, match=r"^no such model$"):
        ask(driver, judge)


def hang(messages: list[Any], responses: list[AIMessage]) -> list[float]:
    time.sleep(20)
    return [0.0] * len(responses)


async def async_hang(messages: list[Any], responses: list[AIMessage]) -> list[float]:
    await asyncio.sleep(20)
    return [0.0] * len(responses)


@both_drivers
@pytest.mark.parametrize("judge", [hang, async_hang])
@pytest.mark.parametrize("limits", [{"timeout": 0.05}, {"timeout": 30.0}])
def test_a_judge_that_hangs_is_given_up(driver: str, judge: Any, limits: dict[str, float]) -> None:
    left = 0.05 if limits["timeout"] > 1 else None
    begun = time.monotonic()

    with pytest.raises(RewardTimeoutError) as caught:
        ask(driver, judge, left, **limits)

    told = re.search(r"hang' did not answer within (\S+) s: give it more", str(caught.value))
    assert told is not None
    assert 0 < float(told[1]) <= 0.05  # of what is left, some has passed before the judge is asked
    assert time.monotonic() - begun < 10


@both_drivers
def test_a_timeout_of_the_judge_itself_is_a_failure_and_not_ours(driver: str) -> None:
    async def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        raise TimeoutError("server")

    with pytest.raises(RewardError, match="raised TimeoutError: server") as caught:
        ask(driver, judge, left=30.0)

    assert not isinstance(caught.value, RewardTimeoutError)


def test_cancelling_the_caller_cancels_an_async_judge() -> None:
    ends = []

    async def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return [0.0]

    async def main() -> None:
        task = asyncio.create_task(as_reward(judge).ascore(MESSAGES, RESPONSES))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ends == ["cancelled"]


def test_a_synchronous_judge_does_not_block_the_event_loop() -> None:
    release = threading.Event()

    def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        return [float(release.wait(20))] * len(responses)

    async def main() -> list[float]:
        task = asyncio.create_task(as_reward(judge).ascore(MESSAGES, RESPONSES))
        await asyncio.sleep(0.01)
        release.set()
        return await task

    assert asyncio.run(main()) == [1.0, 1.0, 1.0]


@both_drivers
@both_judges
@pytest.mark.parametrize("left", [None, 30.0])
def test_a_judge_sees_the_callers_context_variables(driver: str, judge: Any, left: float | None) -> None:
    seen = []

    def plain(messages: list[Any], responses: list[AIMessage]) -> list[int]:
        seen.append(CALLER.get())
        return lengths(messages, responses)

    async def awaited(messages: list[Any], responses: list[AIMessage]) -> list[int]:
        return plain(messages, responses)

    token = CALLER.set("me")
    try:
        ask(driver, plain if judge is lengths else awaited, left)
    finally:
        CALLER.reset(token)
    assert seen == ["me"]


def test_async_judges_of_all_threads_run_on_one_background_loop() -> None:
    loops = set()

    async def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        loops.add(asyncio.get_running_loop())
        return [0.0] * len(responses)

    threads = [threading.Thread(target=as_reward(judge).score, args=(MESSAGES, RESPONSES)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loops) == 1


def test_a_synchronous_call_works_inside_a_running_event_loop() -> None:
    async def main() -> list[float]:
        return as_reward(async_lengths).score(MESSAGES, RESPONSES)

    assert asyncio.run(main()) == [4.0, 12.0, 10.0]


def test_an_async_judge_that_waits_for_itself_is_an_error_and_not_a_deadlock() -> None:
    async def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        return as_reward(async_lengths).score(messages, responses)

    with pytest.raises(RewardError, match="await `ainvoke` there"):
        as_reward(judge).score(MESSAGES, RESPONSES)


class Flaky:
    """Fails the first `failures` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, messages: list[Any], responses: list[AIMessage]) -> list[int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"attempt {self.calls}")
        return lengths(messages, responses)


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.wait_random_exponential.__call__", lambda self, state: 0.0)


@both_drivers
@pytest.mark.usefixtures("_no_waiting")
def test_a_passing_failure_is_retried_if_asked_for(driver: str) -> None:
    judge = Flaky(failures=2)

    assert ask(driver, judge, retries=2) == [4.0, 12.0, 10.0]
    assert judge.calls == 3


@both_drivers
@pytest.mark.usefixtures("_no_waiting")
def test_the_last_failure_is_raised_when_the_retries_are_used_up(driver: str) -> None:
    with pytest.raises(RewardError, match="raised ConnectionError: attempt 3"):
        ask(driver, Flaky(failures=9), retries=2)


@both_drivers
def test_nothing_is_retried_by_default(driver: str) -> None:
    with pytest.raises(RewardError, match="raised ConnectionError: attempt 1"):
        ask(driver, Flaky(failures=1))


@both_drivers
def test_retries_end_with_the_callers_time(driver: str) -> None:
    begun = time.monotonic()

    with pytest.raises(RewardTimeoutError):
        ask(driver, Flaky(failures=10**9), left=0.2, retries=10**9)

    assert time.monotonic() - begun < 10


def test_a_judge_that_spoils_its_list_of_messages_spoils_nothing_else() -> None:
    def judge(messages: list[Any], responses: list[AIMessage]) -> list[float]:
        messages.clear()
        responses.reverse()
        return [1.0, 2.0, 3.0]

    messages, responses = list(MESSAGES), list(RESPONSES)
    as_reward(judge).score(messages, responses)

    assert (messages, responses) == (MESSAGES, RESPONSES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": 0}, "timeout=0 must be above 0"),
        ({"retries": -1}, "retries=-1 must be at least 0"),
        ({"min_tokens": -5}, "min_tokens=-5 must be at least 0"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_reward(lengths, **settings)


def test_bind_gives_the_policy_to_a_judge_that_asks_for_it() -> None:
    class Asking:
        policy = "none"

        def __call__(self, messages: list[Any], responses: list[AIMessage]) -> list[float]:
            return [float(len(self.policy))] * len(responses)

        def bind(self, policy: Any) -> Asking:
            bound = Asking()
            bound.policy = policy
            return bound

    unbound = as_reward(Asking(), timeout=30)

    assert unbound.bind("the policy").score(MESSAGES, RESPONSES) == [10.0] * 3
    assert unbound.bind("the policy").timeout == 30
    assert unbound.score(MESSAGES, RESPONSES) == [4.0] * 3
    assert as_reward(lengths).bind("the policy") == as_reward(lengths)


def test_a_response_is_unfinished_while_its_finish_reason_is_none() -> None:
    reasons = [{"finish_reason": None}, {"finish_reason": "stop"}, {}]

    assert [is_unfinished(AIMessage("a", response_metadata=each)) for each in reasons] == [True, False, False]


def test_a_score_is_a_float_that_keeps_its_parts() -> None:
    score = ScoreWithParts(3.0, {"length": 1.0, "tone": 2.0})

    assert score == 3.0
    assert score.parts == {"length": 1.0, "tone": 2.0}
    assert pickle.loads(pickle.dumps(score)).parts == score.parts
    assert copy.deepcopy(score).parts == score.parts


def test_a_number_computed_from_scores_has_no_parts() -> None:
    mean = statistics.mean([ScoreWithParts(1.0, {"tone": 1.0}), ScoreWithParts(3.0, {"tone": 3.0})])

    assert mean == 2.0
    assert ScoreWithParts(mean).parts == {}


class Locked:
    """A reward that holds what cannot be copied."""

    name = "locked"

    def __init__(self) -> None:
        self.lock, self.words = threading.Lock(), ["sea"]

    def __call__(self, messages: list[Any], responses: list[Any]) -> list[float]:
        with self.lock:
            return [1.0] * len(responses)


def test_a_copy_has_its_own_data_or_shares_what_cannot_be_copied() -> None:
    weighted = as_reward([as_reward(Locked()), (0.5, lengths)])
    locked, plain = as_reward(Locked()), as_reward(Keywords(["sea"]))

    assert copy.deepcopy(locked).judge is locked.judge
    assert copy.deepcopy(locked).score(MESSAGES, RESPONSES) == [1.0] * 3
    assert copy.deepcopy(weighted).score(MESSAGES, RESPONSES) == weighted.score(MESSAGES, RESPONSES)
    assert copy.deepcopy(plain) == plain
    assert pickle.loads(pickle.dumps(plain)) == plain
