"""Identities: the same for the same reward, different for rewards with different numbers."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
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


def linked(length: int) -> Any:
    node: Any = None
    for at in range(length):
        node = Ordinary((at, node))
    return node


def nested(length: int) -> Any:
    inner: Any = frozenset({1})
    for _ in range(length):
        inner = frozenset({inner})
    return inner


LARGE = {
    "set of words": lambda: {f"word{at}" for at in range(200_000)},
    "list of numbers": lambda: list(range(300_000)),
    "dict of words": lambda: {f"word{at}": at for at in range(100_000)},
    "set of tuples": lambda: {(at, str(at)) for at in range(200_000)},
    "list of lists": lambda: [[at] for at in range(300_000)],
    "millions of words": lambda: dict.fromkeys(range(3_000_000)),
    "linked objects": lambda: linked(100_000),
    "nested lists": lambda: functools.reduce(lambda inner, _: [inner], range(100_000), []),
    "nested sets": lambda: nested(3_000),
    "a long text": lambda: "word " * 10_000_000,
    "a large number": lambda: 1 << 3_000_000,
    "a large array": lambda: np.zeros(40_000_000),
    "a model": lambda: torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3_000))),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_a_large_or_deep_thing_is_described_in_a_moment(make: Any) -> None:
    reward = as_reward(closure(make()))

    started = time.process_time()
    first = reward.identity()
    seconds = time.process_time() - started

    assert json.loads(json.dumps(first)) == first == reward.identity()
    assert seconds < 1.0


def test_large_plain_data_is_told_apart_by_what_it_holds() -> None:
    words = [f"word{at}" for at in range(200_000)]
    one, same, other = (as_reward(closure(set(some))).identity() for some in (words, words[::-1], words[1:]))

    assert one == same
    assert one != other
    assert as_reward(closure([1] * 2_000)).identity() != as_reward(closure([True] * 2_000)).identity()


def test_arrays_are_told_apart_by_what_they_hold() -> None:
    arrays = [np.arange(6), np.arange(6).reshape(2, 3), np.arange(6.0), np.arange(6) + 1, np.int64(6), np.int32(6)]
    found = [as_reward(closure(array)).identity() for array in arrays]

    assert found == [as_reward(closure(array.copy())).identity() for array in arrays]
    assert len({str(identity) for identity in found}) == len(arrays)


class Raising:
    """Fails at whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise ValueError(name)

    def __eq__(self, other: object) -> bool:
        raise ValueError

    def __hash__(self) -> int:
        raise ValueError

    def __repr__(self) -> str:
        raise ValueError


class Unpicklable:
    def __getstate__(self) -> Any:
        raise RuntimeError


class Lying:
    """Says that it is whatever one asks for."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: Any) -> Any:
        return self


class OddKind(type):
    def __getattribute__(cls, name: str) -> Any:
        raise LookupError(name)

    def __eq__(cls, other: object) -> bool:
        raise LookupError

    __hash__ = None  # type: ignore[assignment]


class Odd(metaclass=OddKind):
    pass


def odd() -> Any:
    return type.__call__(Odd)


def test_an_object_that_answers_to_every_name_is_described() -> None:
    lying = Lying()

    assert as_reward(closure(lying)).identity() == as_reward(closure(lying)).identity()


@pytest.mark.parametrize("kind", [Raising, Unpicklable, odd])
def test_objects_that_misbehave_match_themselves_alone(kind: Any) -> None:
    one, other = kind(), kind()
    first, again, second = (as_reward(closure(thing)).identity() for thing in (one, one, other))

    assert first == again
    assert first != second


def test_an_identity_of_its_own_that_fails_gives_way_to_a_digest(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Ordinary):
        def identity(self) -> Any:
            return next(iter(()))

    assert as_reward(Failing(1)).identity() == as_reward(Failing(1)).identity() != as_reward(Failing(2)).identity()
    assert "Failing failed; a digest takes its place" in caplog.text


def test_an_object_that_is_gone_leaves_its_number_to_nobody() -> None:
    seen = set()
    for _ in range(50):  # each likely lies where the one before lay
        seen.add(str(as_reward(closure(threading.Lock())).identity()))

    assert len(seen) == 50


def test_what_cannot_be_described_matches_nothing_in_another_process() -> None:
    code = "from langchain_darwin.runtime.fingerprints import digest; print(digest(iter([])))"
    digests = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}

    assert len(digests) == 2


def test_many_fields_are_shown_by_a_digest() -> None:
    few, many = Keywords(["a", "b"]), Keywords([f"word{at}" for at in range(50_000)])

    assert as_reward(few).identity()["words"] == ["a", "b"]
    assert set(as_reward(many).identity()) == {"reward", "digest"}
