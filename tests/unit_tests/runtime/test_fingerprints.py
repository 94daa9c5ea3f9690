"""Identities: the same for the same reward, different for rewards with different numbers."""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from langchain_darwin.rewards import Keywords, as_reward, per_response, trl_reward

THRESHOLD = 10


def closure(factor: Any) -> Any:
    def judge(messages: list[Any], responses: list[Any]) -> list[Any]:
        return [factor] * len(responses)

    return judge


def defaulted(value: float) -> Any:
    def judge(messages: list[Any], responses: list[Any], factor: float = value) -> list[Any]:
        return [factor] * len(responses)

    return judge


def reads_global(messages: list[Any], responses: list[Any]) -> list[Any]:
    return [THRESHOLD] * len(responses)


@dataclass(frozen=True)
class Plain:
    factor: float

    def __call__(self, messages: list[Any], responses: list[Any]) -> list[Any]:
        return [self.factor] * len(responses)


class Ordinary:
    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, messages: list[Any], responses: list[Any]) -> list[Any]:
        return [self.factor] * len(responses)

    def method(self, messages: list[Any], responses: list[Any]) -> list[Any]:
        return self(messages, responses)


def chain(text: str, answer: str) -> Any:
    return ChatPromptTemplate.from_template(text) | FakeListChatModel(responses=[answer])


MAKERS = {
    "closure": closure,
    "nested data in a closure": lambda value: closure({"a": [value, {value}], "b": (value,)}),
    "function in a closure": lambda value: closure(closure(value)),
    "default": defaulted,
    "lambda": lambda value: eval(f"lambda messages, responses: [{value}] * len(responses)"),
    "partial": lambda value: functools.partial(defaulted(0), factor=value),
    "frozen dataclass": Plain,
    "object": Ordinary,
    "bound method": lambda value: Ordinary(value).method,
    "per response": lambda value: per_response(closure(value)),
    "trl": lambda value: trl_reward(closure(0), gold=value),
    "runnable": lambda value: RunnableLambda(closure(value)),
    "prompt of a chain": lambda value: chain(f"Rate {value}: {{response}}", "1"),
    "model of a chain": lambda value: chain("Rate: {response}", str(value)),
    "weights": lambda value: [(value, Plain(1))],
    "parts": lambda value: [Plain(value), Plain(1)],
    "rule": lambda value: Keywords([str(value)]),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_equal_rewards_made_twice_are_the_same_and_different_ones_are_not(make: Any) -> None:
    first, again, other = (as_reward(make(value)).identity() for value in (1, 1, 2))

    assert first == again
    assert first != other
    assert json.loads(json.dumps(first)) == first


def test_settings_that_change_a_search_are_part_of_the_identity() -> None:
    settings: list[Any] = [{}, {"version": "1"}, {"version": "2"}, {"partial": False}, {"min_tokens": 9}]
    identities = [as_reward(Plain(1), **each).identity() for each in settings]

    assert len({str(identity) for identity in identities}) == 5
    assert as_reward(Plain(1), timeout=9, retries=3).identity() == identities[0]


def test_global_data_that_a_function_reads_is_part_of_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = as_reward(reads_global).identity()
    monkeypatch.setitem(globals(), "THRESHOLD", 11)

    assert as_reward(reads_global).identity() != before


def test_an_attribute_that_changes_changes_the_identity() -> None:
    judge = Ordinary(1)
    before = as_reward(judge).identity()
    judge.factor = 2

    assert as_reward(judge).identity() != before


def test_what_cannot_be_described_matches_only_itself() -> None:
    first, second = threading.Lock(), threading.Lock()

    assert as_reward(closure(first)).identity() == as_reward(closure(first)).identity()
    assert as_reward(closure(first)).identity() != as_reward(closure(second)).identity()


def test_local_classes_of_one_name_are_told_apart() -> None:
    def local(factor: float) -> Any:
        @dataclass(frozen=True)
        class Local:
            bonus: float = 0

            def __call__(self, messages: list[Any], responses: list[Any]) -> list[float]:
                return [factor + self.bonus] * len(responses)

        return Local()

    assert as_reward(local(1)).identity() == as_reward(local(1)).identity()
    assert as_reward(local(1)).identity() != as_reward(local(2)).identity()


def test_data_that_contains_itself_is_no_trap() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    assert as_reward(closure(loop)).identity() == as_reward(closure(loop)).identity()
