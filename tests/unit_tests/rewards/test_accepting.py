"""`as_reward`: what is accepted, what it is called with, and what is refused."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from langchain_darwin import rewards
from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards import (
    Judge,
    LengthWindow,
    Reward,
    RewardModel,
    SelfReward,
    as_reward,
    per_response,
    trl_reward,
)

MESSAGES = [SystemMessage("Be brief."), HumanMessage("Name a colour.")]
RESPONSES = [AIMessage("Red."), AIMessage("Ultramarine.")]


def lengths(messages: list[Any], responses: list[AIMessage]) -> list[int]:
    return [len(response.text) for response in responses]


class AsyncLengths:
    async def __call__(self, messages: list[Any], responses: list[AIMessage]) -> list[int]:
        return lengths(messages, responses)


class Verdict(BaseModel):
    score: float


def one(messages: list[Any], response: AIMessage) -> int:
    return len(response.text)


async def async_one(messages: list[Any], response: AIMessage) -> int:
    return len(response.text)


def runnable(form: Any) -> Any:
    return RunnableLambda(lambda given: form(len(given["response"].text)))


def trl(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
    return [float(len(completion[0]["content"])) for completion in completions]


async def async_trl(completions: list[Any], **columns: Any) -> list[float]:
    return trl([], completions)


@pytest.mark.parametrize(
    "accepted",
    [
        lengths,
        AsyncLengths(),
        functools.partial(lengths),
        as_reward(lengths),
        per_response(one),
        per_response(async_one),
        runnable(int),
        runnable(lambda number: f" {number}\n"),
        runnable(lambda number: AIMessage(str(number))),
        runnable(lambda number: {"score": number}),
        runnable(lambda number: {"score": str(number)}),
        runnable(lambda number: Verdict(score=number)),
        trl_reward(trl),
        trl_reward(async_trl),
        [lengths],
        [(0.5, lengths), (0.5, AsyncLengths())],
    ],
)
def test_everything_accepted_gives_the_same_scores_in_both_drivers(accepted: Any) -> None:
    reward = as_reward(accepted)

    assert reward.score(MESSAGES, RESPONSES) == [4.0, 12.0]
    assert asyncio.run(reward.ascore(MESSAGES, RESPONSES)) == [4.0, 12.0]
    assert reward(MESSAGES, RESPONSES) == [4.0, 12.0]


def test_a_judging_chain_sees_the_conversation_and_the_response() -> None:
    prompt = ChatPromptTemplate.from_messages([("placeholder", "{messages}"), ("human", "Rate: {response}")])
    seen = []
    chain = prompt | RunnableLambda(lambda value: seen.append(value.to_messages()) or 1.0)  # type: ignore[misc]

    assert as_reward(chain).score(MESSAGES, RESPONSES[:1]) == [1.0]
    assert [message.type for message in seen[0]] == ["system", "human", "human"]
    assert "Red." in seen[0][2].text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: model.bind(temperature=0),
        lambda model: model.with_config(tags=["judge"]),
        lambda model: model.with_retry(stop_after_attempt=2).bind(stop=["."]),
    ],
    ids=["bare", "bound", "configured", "retried"],
)
def test_a_chat_model_becomes_a_judge(wrap: Any) -> None:
    model = wrap(FakeListChatModel(responses=["Score: 7", "Score: 3"]))

    reward = as_reward(model)

    assert isinstance(reward.judge, Judge)
    assert (reward.name, reward.partial) == ("judge", False)
    assert sorted(reward.score(MESSAGES, RESPONSES)) == [3.0, 7.0]
    assert as_reward([model, (0.5, lengths)]).partial is False


def test_a_chain_that_ends_in_a_chat_model_is_no_judge() -> None:
    chain = ChatPromptTemplate.from_template("{response}") | FakeListChatModel(responses=["7"])

    assert not isinstance(as_reward(chain).judge, Judge)
    assert as_reward(chain).score(MESSAGES, RESPONSES) == [7.0, 7.0]


def test_a_chat_model_that_does_not_answer_with_a_number_is_an_error_that_shows_its_answer() -> None:
    judge = ChatPromptTemplate.from_template("{response}") | FakeListChatModel(responses=["Great answer!"])

    with pytest.raises(RewardError, match="returned 'Great answer!' for response 1 of 2"):
        as_reward(judge).score(MESSAGES, RESPONSES)


def test_a_trl_function_is_called_as_trl_calls_it() -> None:
    calls = []

    def judge(**arguments: Any) -> list[float | None]:
        calls.append(arguments)
        return [None, 2.0]

    assert trl_reward(judge, gold="blue").score(MESSAGES, RESPONSES) == [0.0, 2.0]
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
    assert calls == [
        {
            "prompts": [prompt, prompt],
            "completions": [
                [{"role": "assistant", "content": "Red."}],
                [{"role": "assistant", "content": "Ultramarine."}],
            ],
            "gold": ["blue", "blue"],
        }
    ]


def test_a_trl_function_judges_finished_answers_only_unless_told_otherwise() -> None:
    assert trl_reward(trl).partial is False
    assert as_reward(trl_reward(trl), partial=True).partial is True


def test_an_exception_about_one_response_says_which() -> None:
    @per_response
    def vowels_per_consonant(messages: list[Any], response: AIMessage) -> float:
        return 1 / (len(response.text) - 12)

    message = r"reward 'vowels_per_consonant' raised ZeroDivisionError: .* \(on response 2\)"
    with pytest.raises(RewardError, match=message):
        vowels_per_consonant.score(MESSAGES, RESPONSES)


def test_an_async_function_of_one_response_is_asked_for_all_at_once() -> None:
    running = []

    @per_response
    async def together(messages: list[Any], response: AIMessage) -> float:
        running.append(response)
        await asyncio.sleep(0.01)
        return float(len(running))

    assert together.score(MESSAGES, RESPONSES) == [2.0, 2.0]


def test_settings_are_kept_and_changed_one_by_one() -> None:
    first = as_reward(lengths, name="terse", timeout=5, partial=False)
    second = as_reward(first, timeout=9, retries=2)

    assert first == Reward(lengths, "terse", partial=False, timeout=5)
    assert second == Reward(lengths, "terse", partial=False, timeout=9, retries=2)


def test_the_decorator_takes_settings() -> None:
    decorated = per_response(partial=False, min_tokens=3, name="n")(one)

    assert (decorated.name, decorated.partial, decorated.min_tokens) == ("n", False, 3)


def test_a_judge_may_declare_its_settings_as_attributes() -> None:
    class Slow:
        name = "slow one"
        partial = False
        min_tokens = 20
        timeout = 7.5

        def __call__(self, messages: list[Any], responses: list[AIMessage]) -> list[int]:
            return lengths(messages, responses)

    judge = Slow()

    expected = Reward(judge, "slow one", partial=False, min_tokens=20, timeout=7.5)
    assert as_reward(judge) == expected
    assert as_reward(judge, partial=True).partial is True


def test_strings_are_the_policy_itself_or_a_reward_model() -> None:
    assert as_reward("self").judge == SelfReward()
    assert as_reward("org/reward-model").judge == RewardModel("org/reward-model")


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (3, "reward=3 is not a reward. Accepted are"),
        (None, "reward=None is not a reward. Accepted are"),
        ({"a": lengths}, "is not a reward. Accepted are"),
        (LengthWindow, r"reward=LengthWindow is a class; pass an instance: LengthWindow\(...\)"),
        (lambda text: 1.0, "cannot be called with .messages, responses.: too many positional arguments"),
        (lambda *, completions: [1.0], "cannot be called with .messages, responses."),
        ([], "reward=.. is an empty sum; pass at least one reward"),
        ([("heavy", lengths)], "must be a reward or a pair .weight, reward., the weight a number"),
        ([(float("inf"), lengths)], "weight=inf must be"),
        ([3], "reward=3 is not a reward"),
    ],
)
def test_anything_else_is_refused_with_the_list_of_what_is_accepted(refused: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_reward(refused)


def test_every_public_name_can_be_imported() -> None:
    assert sorted(vars(rewards)["_HOMES"]) == sorted(rewards.__all__) == dir(rewards)
    assert all(getattr(rewards, name).__name__ == name for name in rewards.__all__ if name != "Score")
    assert rewards.Score is rewards.ScoreWithParts  # the former name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rewards.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_a_blank_name_is_refused_when_it_is_passed(name):
    with pytest.raises(ConfigurationError, match="names no reward; pass 'self', a reward model's hub id or folder"):
        as_reward(name)
