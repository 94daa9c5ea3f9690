"""The requests of soak.py: questions of several kinds, and ways to ask them from a thread or an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import threading
from dataclasses import dataclass
from typing import Any

from langchain_core.tools import tool

from langchain_darwin import CancelScope
from langchain_darwin.search import BestOfN, Darwin, MajorityVote, Particles, SpeculativeRejection

JUDGED = (Darwin(beams=3, keep=1, period=8), BestOfN(n=3), Particles(n=3, period=8), SpeculativeRejection(4, first=8))
SEARCHES = (*JUDGED, MajorityVote(n=3))
WORDS = ["lake", "river", "stone", "bread", "winter", "garden", "window", "music", "paper", "horse", "silver", "letter"]


# ---- questions: a model with its settings, the text, the outcome if it is left alone, and the check of an answer


@dataclass(frozen=True)
class Question:
    model: Any
    text: str
    outcome: str = "answered"
    check: Any = lambda answer: bool(answer.text)


def raises(_messages, _responses):
    msg = "this reward always fails"
    raise LookupError(msg)


def not_a_number(_messages, responses):
    return [float("nan")] * len(responses)


def stops(_messages, responses):
    return [next(iter(responses[:0]))]


@tool
def weather(city: str, days: int) -> str:
    """The weather in a city for some days."""
    return f"{days} days of rain in {city}"


def prose(rng, words):
    return "Write about this: " + " ".join(rng.choice(WORDS) for _ in range(words))


def short(model, rng):
    tokens = {"min_tokens": 4, "max_tokens": rng.randint(4, 40)}
    return Question(model.bind(search=rng.choice(SEARCHES), **tokens), prose(rng, 12))


def long(model, rng):
    search = rng.choice((BestOfN(n=2), Darwin(beams=2, keep=1, period=4)))
    return Question(model.bind(search=search, min_tokens=4, max_tokens=8), prose(rng, rng.randint(500, 2900)))


def tool_call(model, rng):
    asked = model.bind_tools([weather], tool_choice="any", search=rng.choice(JUDGED), max_tokens=60)
    return Question(asked, f"How is the weather in {rng.choice(WORDS).title()}?", check=is_call)


def is_call(answer):
    return [(call["name"], *map(type, call["args"].values())) for call in answer.tool_calls] == [("weather", str, int)]


def schema(model, rng):
    """Nearly always a new one, so that grammars are compiled and dropped."""
    names = rng.sample(WORDS, 3)
    fields = {"word": {"enum": names}, "count": {"type": "integer"}, "certain": {"type": "boolean"}}
    wanted = {"title": "Entry", "type": "object", "properties": fields, "required": list(fields)}
    form = {"type": "json_schema", "json_schema": {"name": "Entry", "schema": wanted}}
    asked = model.bind(response_format=form, search=rng.choice(JUDGED), max_tokens=40)
    return Question(asked, prose(rng, 8), check=lambda answer: is_entry(json.loads(answer.text), names))


def is_entry(entry, names):
    return entry["word"] in names and type(entry["count"]) is int and type(entry["certain"]) is bool


def failing_reward(model, rng):
    asked = model.bind(reward=rng.choice((raises, not_a_number, stops)), search=rng.choice(JUDGED), max_tokens=12)
    return Question(asked, prose(rng, 12), "RewardError")


def too_long(model, rng):
    return Question(model.bind(search=rng.choice(SEARCHES)), prose(rng, 9000), "ContextOverflowError")


QUESTIONS = {short: 5, tool_call: 2, schema: 2, failing_reward: 2, long: 1, too_long: 1}  # with their weights

# ---- ways to ask: by name, the outcome that each adds to the question's. The answer is None if it was left early

WAYS = {"wait": None, "read": None, "leave": "left early", "timeout": "timed out", "cancel": "cancelled"}


def ask(question, way, rng):
    model, text = settings(question, way, rng)
    if way == "cancel":
        with CancelScope() as scope, cancelling(scope, rng.uniform(0, 4)):
            return model.invoke(text)
    if way not in {"read", "leave"}:
        return model.invoke(text)
    most = rng.randint(1, 4) if way == "leave" else sys.maxsize
    with contextlib.closing(model.stream(text)) as stream:
        return joined(list(itertools.islice(stream, most)), most)


async def ask_async(question, way, rng):
    model, text = settings(question, way, rng)
    if way == "cancel":
        task = asyncio.create_task(model.ainvoke(text))
        await asyncio.wait([task], timeout=rng.uniform(0, 4))
        task.cancel()
        return await task
    if way not in {"read", "leave"}:
        return await model.ainvoke(text)
    chunks, most = [], rng.randint(1, 4) if way == "leave" else sys.maxsize
    async with contextlib.aclosing(model.astream(text)) as stream:
        async for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == most:
                break
    return joined(chunks, most)


def settings(question, way, rng):
    given = {"timeout": rng.uniform(0.05, 6)} if way == "timeout" else {}
    return question.model.bind(seed=rng.randrange(2**31), **given), question.text


@contextlib.contextmanager
def cancelling(scope, seconds):
    timer = threading.Timer(seconds, scope.cancel)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def joined(chunks, most):
    return None if len(chunks) == most else sum(chunks[1:], chunks[0])
