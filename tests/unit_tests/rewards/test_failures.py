"""What a reward's own code raises is an error that names the reward, however it is called; nothing hangs."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import CancelledError

import pytest
from langchain_core.runnables import RunnableLambda

from langchain_darwin import BestOfN, ChatDarwin, Darwin
from langchain_darwin.errors import RewardError
from langchain_darwin.rewards import (
    Ensemble,
    Judge,
    LengthCorrected,
    Lexicographic,
    LogprobFloor,
    Matches,
    Normalized,
    Veto,
    WeightedSum,
    as_reward,
    per_response,
    trl_reward,
)
from langchain_darwin.testing import ScriptedPolicy, keyword_reward


def first_of_none():
    return next(word for word in () if word)


def closed():
    raise GeneratorExit


def stopped_async():
    raise StopAsyncIteration


def cancelled():
    raise asyncio.CancelledError


def future_cancelled():
    raise CancelledError


def late():
    raise TimeoutError


def group():
    raise ExceptionGroup("two", [ValueError("a"), StopIteration("b")])


def base_group():
    raise BaseExceptionGroup("two", [GeneratorExit(), ValueError("a")])


def deep():
    return deep()


ENDINGS = {
    "StopIteration": first_of_none,
    "StopAsyncIteration": stopped_async,
    "CancelledError": cancelled,
    "future's CancelledError": future_cancelled,
    "TimeoutError": late,
    "ExceptionGroup": group,
    "BaseExceptionGroup": base_group,
    "RecursionError": deep,
}
SYNC_ENDINGS = {**ENDINGS, "GeneratorExit": closed}


def function(ending):
    def broken(messages, responses):
        ending()

    return broken


def lazy(ending):
    """Fails when its scores are read, not when it is called."""

    def broken(messages, responses):
        yield 1.0
        ending()

    return broken


def coroutine(ending):
    async def broken(messages, responses):
        await asyncio.sleep(0)
        ending()

    return broken


def one(ending):
    def broken(message, response):
        ending()

    return per_response(broken)


def async_one(ending):
    async def broken(message, response):
        ending()

    return per_response(broken)


def with_acall(ending):
    class Broken:
        name = "broken"

        def __call__(self, messages, responses):
            ending()

        async def acall(self, messages, responses):
            ending()

    return Broken()


def trl(ending):
    def broken(completions, **columns):
        ending()

    return trl_reward(broken)


def async_trl(ending):
    async def broken(completions, **columns):
        ending()

    return trl_reward(broken)


def binding(ending):
    class Broken:
        name = "broken"

        def bind(self, policy):
            ending()

        def __call__(self, messages, responses):
            return [0.0] * len(responses)

    return Broken()


SYNC = [function, one, trl, with_acall, binding]
ASYNC = [coroutine, async_one, async_trl]
WAYS = {
    "invoke": lambda model: model.invoke("Hello"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("Hello")),
    "stream": lambda model: list(model.stream("Hello")),
    "astream": lambda model: asyncio.run(collected(model.astream("Hello"))),
    "batch": lambda model: model.batch(["Hello", "Goodbye"]),
    "abatch": lambda model: asyncio.run(model.abatch(["Hello", "Goodbye"])),
}


async def collected(stream):
    return [chunk async for chunk in stream]


def chat(reward, search=None, **fields):
    defaults = {"model": ScriptedPolicy(length=8), "search": search or BestOfN(n=2), "seed": 1, "max_tokens": 12}
    return ChatDarwin(reward=reward, **defaults, **fields)


def failure(reward, way, **fields):
    with pytest.raises(RewardError) as caught:
        WAYS[way](chat(reward, **fields))
    return caught.value


@pytest.mark.timeout(20)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", SYNC + ASYNC, ids=lambda form: form.__name__)
def test_an_exhausted_iterator_in_a_reward_is_its_error(form, way):
    error = failure(form(first_of_none), way)

    assert error.reward == "broken"
    assert str(error) == (
        f"reward 'broken' raised StopIteration{' (on response 1)' if 'one' in form.__name__ else ''}:"
        " it took the next of nothing: give next() a default"
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize(
    ("form", "ending"),
    [(form, ending) for form in [function, one, trl, binding, lazy] for ending in SYNC_ENDINGS.values()]
    + [(form, ending) for form in [*ASYNC, with_acall] for ending in ENDINGS.values()],
    ids=lambda value: value.__name__,
)
def test_whatever_a_reward_raises_is_its_error(form, ending, way):
    assert failure(form(ending), way).reward == "broken"
    assert failure(form(ending), way, timeout=5).reward == "broken"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize(
    "compose",
    [
        lambda reward: [reward, keyword_reward("sea")],
        lambda reward: WeightedSum([(2.0, WeightedSum([reward]))]),
        lambda reward: Veto(keyword_reward("sea"), unless=reward),
        lambda reward: Veto(reward, unless=Matches(".*")),
        lambda reward: Lexicographic(keyword_reward("sea"), reward),
        lambda reward: Ensemble([reward, keyword_reward("sea")]),
        lambda reward: Normalized(reward, mean=0.0, std=1.0),
        lambda reward: LengthCorrected(reward, slope=0.1),
        LogprobFloor,
    ],
    ids=["list", "nested", "constraint", "vetoed", "lexicographic", "ensemble", "normalized", "corrected", "floor"],
)
@pytest.mark.parametrize("form", [function, coroutine, with_acall], ids=lambda form: form.__name__)
def test_a_part_that_fails_is_named(compose, form, way):
    error = failure(compose(form(first_of_none)), way, search=Darwin(period=4, mutation="none"))

    assert error.reward == "broken"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("form", [function, coroutine], ids=lambda form: form.__name__)
def test_an_ensemble_may_drop_it(form):
    ensemble = Ensemble([form(first_of_none), keyword_reward("sea")], on_error="drop")

    assert chat(ensemble).invoke("Hello").text
    assert asyncio.run(chat(ensemble).ainvoke("Hello")).text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_judging_model_that_has_nothing_left_to_say_is_named(way):
    from langchain_core.language_models import GenericFakeChatModel

    error = failure(Judge(GenericFakeChatModel(messages=iter([]))), way)

    assert error.reward == "judge"
    assert "StopIteration" in str(error)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_runnable_that_fails_is_named(way):
    error = failure(RunnableLambda(lambda _: first_of_none(), name="chain"), way)

    assert error.reward == "chain"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("form", [function, coroutine, with_acall], ids=lambda form: form.__name__)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_no_error_of_the_reward(form, way, kind):
    def ending():
        raise kind

    with pytest.raises(kind):
        WAYS[way](chat(form(ending)))
    assert chat(coroutine_of_length()).invoke("Hello").text  # the shared loop for async rewards runs


def coroutine_of_length():
    async def length(messages, responses):
        return [len(response.text) for response in responses]

    return length


@pytest.mark.timeout(20)
async def test_a_cancelled_call_is_cancelled_and_no_error_of_the_reward():
    async def slow(messages, responses):
        await asyncio.sleep(60)

    task = asyncio.create_task(as_reward(slow).ascore([], ["a"]))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.timeout(20)
def test_a_closed_coroutine_is_closed():
    async def slow(messages, responses):
        await asyncio.sleep(60)

    async def begin():
        score = as_reward(slow).ascore([], ["a"])
        score.send(None)
        score.close()

    asyncio.run(begin())
    assert sys.exc_info() == (None, None, None)
