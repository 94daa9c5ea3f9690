"""ChatDarwin on the scripted policy: results, settings, errors, identity."""

from __future__ import annotations

import copy
import json
import pickle
import time

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from langchain_darwin import BestOfN, ChatDarwin, Darwin, per_response
from langchain_darwin.errors import (
    ContextOverflowError,
    DarwinError,
    InvalidRequestError,
    RewardError,
    RewardTimeoutError,
)
from langchain_darwin.search.base import Finished, Started
from langchain_darwin.testing import ScriptedPolicy, keyword_reward
from langchain_darwin.trace import read_trace


def chat(**fields):
    defaults = {
        "model": ScriptedPolicy(length=40),
        "reward": keyword_reward("sea"),
        "search": Darwin(period=10),
        "seed": 1,
        "max_tokens": 60,
    }
    return ChatDarwin(**{**defaults, **fields})


def facts(message):
    """The darwin entry less what differs from run to run."""
    return {**message.response_metadata["darwin"], "seconds": None}


def test_an_answer_carries_what_the_search_found_and_cost():
    answer = chat(search=BestOfN(n=2), max_tokens=4, min_tokens=4).invoke("Write a line")
    assert answer.response_metadata["model_name"] == "scripted"
    assert answer.response_metadata["finish_reason"] == "length"
    assert facts(answer) == {
        "search": "BestOfN",
        "seed": 1,
        "reward": 0.0,
        "seed_answer_reward": None,
        "instruction": "Write a line",
        "complete": True,
        "stopped": None,
        "rounds": 1,
        "cycles": 0,
        "replacements": 0,
        "tokens": {"prefilled": 12, "decoded": 8, "reused": 0},
        "judged": 2,
        "seconds": None,
    }
    assert answer.usage_metadata == {
        "input_tokens": 12,
        "output_tokens": 8,
        "total_tokens": 20,
        "input_token_details": {"cache_read": 0},
        "output_token_details": {"search": 4},
    }


def test_a_composed_reward_tells_what_it_was_made_of():
    def ones(messages, responses):
        return [1.0 for _ in responses]

    def zeros(messages, responses):
        return [0.0 for _ in responses]

    found = facts(chat(reward=[(2.0, ones), zeros]).invoke("Write a line"))
    assert found["reward"] == 2.0
    assert found["reward_parts"] == {"ones": 1.0, "zeros": 0.0}


def test_the_search_beats_plain_sampling_on_its_reward():
    plain = chat(search=BestOfN(n=1)).invoke("Write a line")
    found = chat().invoke("Write a line")
    assert facts(found)["reward"] > facts(plain)["reward"]


async def test_every_way_of_calling_gives_the_same_answer():
    model = chat()
    answer = model.invoke("Write a line")
    awaited = await model.ainvoke("Write a line")
    streamed = None
    for chunk in model.stream("Write a line"):
        streamed = chunk if streamed is None else streamed + chunk
    astreamed = None
    async for chunk in model.astream("Write a line"):
        astreamed = chunk if astreamed is None else astreamed + chunk
    texts = {message.text for message in (awaited, streamed, astreamed)}
    assert texts == {answer.text}
    assert facts(awaited) == facts(streamed) == facts(astreamed) == facts(answer)
    assert streamed.usage_metadata == answer.usage_metadata


def test_a_batch_equals_one_by_one():
    model = chat()
    questions = ["Write a line", "Write two lines", "Sing"]
    assert [a.text for a in model.batch(questions)] == [model.invoke(q).text for q in questions]


def test_without_a_seed_a_new_one_is_drawn_and_reported():
    model = chat(seed=None)
    first, second = model.invoke("Write a line"), model.invoke("Write a line")
    assert facts(first)["seed"] != facts(second)["seed"]
    assert chat(seed=facts(first)["seed"]).invoke("Write a line").text == first.text


def test_several_answers_come_best_first():
    result = chat(search=BestOfN(n=4), n=3).generate([[HumanMessage("Write a line")]])
    rewards = [generation.message.response_metadata["darwin"]["reward"] for generation in result.generations[0]]
    assert len(rewards) == 3
    assert rewards == sorted(rewards, reverse=True)


def test_a_call_may_set_its_own_settings():
    answer = chat().bind(search=BestOfN(n=1), max_tokens=3, min_tokens=3, seed=5).invoke("Write a line")
    assert (facts(answer)["search"], facts(answer)["seed"]) == ("BestOfN", 5)
    assert answer.usage_metadata["output_tokens"] == 3


def test_stop_strings_of_a_call_replace_those_of_the_model():
    model = chat(model=ScriptedPolicy(lambda conversation, tools: "one two three four"), stop=["two"])
    assert model.invoke("Count").text == "one "
    assert model.invoke("Count", stop=["four"]).text == "one two three "


def test_events_reach_the_observer_in_order():
    seen = []
    answer = chat(on_search_event=seen.append).invoke("Write a line")
    assert (type(seen[0]), type(seen[-1])) == (Started, Finished)
    assert seen[-1].outcome.best.reward == facts(answer)["reward"]


def test_an_observer_that_raises_does_not_lose_the_answer(caplog):
    def broken(event):
        raise LookupError

    answer = chat(on_search_event=broken).invoke("Write a line")
    assert answer.text == chat().invoke("Write a line").text
    assert caplog.text.count("raised on a search event") == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temprature": 0.1}, "'temprature'; did you mean 'temperature'"),
        ({"temperature": -1}, "temperature=-1.0 must be at least 0"),
        ({"top_p": 0}, "top_p=0.0 must be above 0 and at most 1"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
        ({"min_tokens": 61}, "min_tokens=61 must be at least 0 and at most 60"),
        ({"timeout": 0}, "seconds=0.0 must be above 0"),
        ({"search": "darwin"}, "search='darwin' is not a search"),
        ({"search": Darwin}, "is not a search; pass an instance"),
        ({"reward": 3}, "3"),
    ],
)
def test_wrong_arguments_are_refused_by_name(fields, message):
    with pytest.raises(ValidationError, match=message):
        chat(**fields)


def test_a_misspelt_call_argument_is_refused():
    with pytest.raises(InvalidRequestError, match="'max_token'; did you mean 'max_tokens'"):
        chat().invoke("hi", max_token=3)


def nan(messages, responses):
    return [float("nan")] * len(responses)


def short(messages, responses):
    return [1.0]


def raises(messages, responses):
    msg = "no luck"
    raise LookupError(msg)


@pytest.mark.parametrize(("reward", "message"), [(nan, "nan"), (short, "1"), (raises, "no luck")])
async def test_a_broken_reward_is_named_and_loses_nothing(reward, message):
    model = chat(search=BestOfN(n=3), reward=reward)
    with pytest.raises(RewardError, match=message) as caught:
        model.invoke("Write a line")
    assert reward.__name__ in str(caught.value)
    assert caught.value.best.text
    with pytest.raises(RewardError, match=message) as caught:
        await model.ainvoke("Write a line")
    assert caught.value.best.text
    assert model.bind(reward=keyword_reward("sea")).invoke("Write a line").text


def test_a_reward_past_its_timeout_is_named():
    @per_response
    def hangs(messages, response):
        time.sleep(1)
        return 0.0

    from langchain_darwin.rewards import as_reward

    with pytest.raises(RewardTimeoutError, match="hangs"):
        chat(search=BestOfN(n=2), reward=as_reward(hangs, timeout=0.05)).invoke("hi")


def test_too_long_a_prompt_says_how_long():
    model = chat(model=ScriptedPolicy(context_length=20))
    with pytest.raises(ContextOverflowError, match=r"the prompt has \d+ tokens and scripted holds 20"):
        model.invoke("word " * 50)
    assert model.invoke("hi").text


def test_images_are_refused():
    with pytest.raises(InvalidRequestError, match="content of type 'image_url'"):
        chat().invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])])


def test_the_time_limit_is_told_in_the_finish_reason():
    model = chat(model=ScriptedPolicy(length=500, seconds_per_token=0.02), timeout=0.2, max_tokens=500)
    answer = model.invoke("Write a line")
    assert answer.text
    assert answer.response_metadata["finish_reason"] == facts(answer)["stopped"] == "timeout"


def test_the_token_limit_is_told_in_the_finish_reason():
    answer = chat(budget_tokens=100).invoke("Write a line")
    assert answer.response_metadata["finish_reason"] == "budget"
    assert answer.usage_metadata["output_tokens"] <= 100


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ScriptedPolicy(name="other")},
        {"reward": keyword_reward("sky")},
        {"search": Darwin(period=20)},
        {"search": BestOfN(n=5)},
        {"temperature": 0.5},
        {"top_k": 5},
        {"seed": 2},
        {"stop": ["."]},
        {"timeout": 9},
    ],
)
def test_what_changes_an_answer_changes_the_cache_key(fields):
    assert chat(**fields)._get_llm_string() != chat()._get_llm_string()


def test_equal_models_share_a_cache_key_and_an_answer():
    cache = InMemoryCache()
    seen = []
    first = chat(cache=cache).invoke("Write a line")
    second = chat(cache=cache, on_search_event=seen.append).invoke("Write a line")
    assert (second.text, seen) == (first.text, [])


def test_two_closures_do_not_share_a_cache_key():
    def longer_than(n):
        return lambda messages, responses: [float(len(r.text) > n) for r in responses]

    assert chat(reward=longer_than(3))._get_llm_string() != chat(reward=longer_than(4))._get_llm_string()


def test_the_original_conversation_is_not_changed():
    messages = [SystemMessage("Be brief."), HumanMessage("Write a line")]
    before = copy.deepcopy(messages)
    chat().invoke(messages)
    assert messages == before


def test_copies_and_pickles_answer_alike():
    model = chat(reward="self", search=BestOfN(n=1))
    texts = {each.invoke("hi").text for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)))}
    assert len(texts) == 1


def test_fields_can_be_configured_at_run_time():
    model = chat().configurable_fields(search=ConfigurableField(id="search"))
    answer = model.with_config(configurable={"search": BestOfN(n=2)}).invoke("Write a line")
    assert facts(answer)["search"] == "BestOfN"


def test_langsmith_parameters():
    assert chat(temperature=0.5, stop=["."])._get_ls_params() == {
        "ls_provider": "darwin",
        "ls_model_name": "scripted",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 60,
        "ls_stop": ["."],
    }


def test_all_errors_have_one_root():
    with pytest.raises(DarwinError):
        chat().invoke([])


def test_a_batch_runs_all_its_searches_at_once():
    policy = ScriptedPolicy(length=500, seconds_per_token=0.02)
    model = chat(model=policy, search=BestOfN(n=1), max_tokens=20, min_tokens=20)
    started = time.monotonic()
    assert len(model.batch(["hi"] * 24)) == 24
    assert len(list(model.batch_as_completed(["hi"] * 24))) == 24
    assert time.monotonic() - started < 2.5  # one after another: 19 s; six at a time: 3.2 s


async def test_two_hundred_calls_at_once_each_have_their_own_answer():
    def parrot(conversation, tools):
        return conversation.splitlines()[0].removeprefix("user: ")

    model = chat(model=ScriptedPolicy(parrot), search=BestOfN(n=2))
    questions = [f"say {i}" for i in range(200)]
    answers = await model.abatch(questions)
    assert [answer.text for answer in answers] == questions


def test_tokens_are_counted_by_the_models_own_template():
    model = chat()
    assert model.get_num_tokens("one two three") == 3
    messages = [SystemMessage("Be brief."), HumanMessage("one two")]
    assert model.get_num_tokens_from_messages(messages) == 9
    assert model.get_num_tokens_from_messages(messages, tools=[test_all_errors_have_one_root]) > 9


async def test_a_trace_file_holds_every_search(tmp_path):
    model = chat(trace=tmp_path / "runs.jsonl")
    answers = [model.invoke("Write a line"), await model.ainvoke("Sing")]
    runs = read_trace(tmp_path / "runs.jsonl")
    assert [run.text(run.outcome.best) for run in runs] == [answer.text for answer in answers]


def test_an_error_carries_the_records_of_its_search():
    with pytest.raises(RewardError) as caught:
        chat(search=BestOfN(n=2), reward=raises).invoke("Write a line")
    assert [record["type"] for record in caught.value.trace] == ["Header", "Started", "Grown", "Failed"]


@pytest.mark.parametrize(("said", "mended"), [("bad \ud83d end", "bad \ufffd end"), ("\ud83d\ude00", "😀")])
def test_ill_formed_unicode_is_mended_before_anyone_reads_it(said, mended, tmp_path):
    read = []

    def respond(conversation, tools):
        read.append(conversation)
        return f"Yes. {mended} No."

    def reward(messages, responses):
        read.append(messages[0].text)
        return [0.0] * len(responses)

    trace = tmp_path / "trace.jsonl"
    model = ChatDarwin(model=ScriptedPolicy(respond), reward=reward, search=BestOfN(n=1), seed=1, trace=trace)
    assert model.invoke(said, stop=[said]).text == "Yes. "
    assert read == [f"user: {mended}\nassistant:", mended]
    assert json.loads(trace.read_text(encoding="utf-8").splitlines()[0])["conversation"][0]["content"] == mended
