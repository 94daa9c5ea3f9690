"""Settings: one verdict for constructor, `bind` and calls, before anything is decoded; names; the cache's identity."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import BaseModel, ValidationError

from langchain_darwin import BestOfN, ChatDarwin, Darwin, Sampling
from langchain_darwin.chat.settings.call import PER_CALL, CallSettings
from langchain_darwin.chat.settings.names import ELSEWHERE, SAME
from langchain_darwin.errors import ConfigurationError, DarwinError, InvalidRequestError
from langchain_darwin.testing import ScriptedPolicy, keyword_reward


class Counting(ScriptedPolicy):
    """A policy that knows whether it was asked for tokens."""

    asked = 0

    def submit(self, *args, **kwargs):
        type(self).asked += 1
        return super().submit(*args, **kwargs)


class Locked:
    """A reward with a lock, as those that hold connections have."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, messages, responses):
        with self.lock:
            return [float(len(response.text)) for response in responses]


@pytest.fixture(autouse=True)
def _nothing_asked():
    Counting.asked = 0


def chat(**fields):
    defaults = {"model": Counting(), "reward": keyword_reward("sea"), "search": BestOfN(n=2), "seed": 1}
    taken = {SAME.get(name, name) for name in fields}
    fresh = {name: value for name, value in {**defaults, "max_tokens": 12}.items() if name not in taken}
    return ChatDarwin(**fresh, **fields)


def verdicts(**setting):
    """The messages with which constructor, `bind` and call refuse a setting; None where it is accepted."""

    def verdict(give):
        try:
            give()
        except ValidationError as error:
            (found,) = error.errors()
            assert isinstance(found["ctx"]["error"], DarwinError)
            return str(found["ctx"]["error"])
        except DarwinError as error:
            return str(error)
        return None

    return [
        verdict(lambda: chat(**setting)),
        verdict(lambda: chat().bind(**setting)),
        verdict(lambda: chat().invoke("hi", **setting)),
    ]


REFUSED = [
    {"temperature": -0.1},
    {"temperature": "warm"},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"temperature": True},
    {"temperature": [0.5]},
    {"temperature": np.array([0.5])},
    {"temperature": np.float32("nan")},
    {"temperature": np.bool_(1)},
    {"temperature": torch.tensor([1.0, 2.0])},
    {"temperature": 1j},
    {"temperature": b"1"},
    {"temperature": 10**400},
    {"top_p": 0},
    {"top_p": 1.01},
    {"top_k": -1},
    {"top_k": 2.5},
    {"top_k": "many"},
    {"max_tokens": 0},
    {"max_tokens": False},
    {"max_tokens": float("inf")},
    {"min_tokens": 13},
    {"min_tokens": -1},
    {"n": 0},
    {"n": -3},
    {"n": 1.5},
    {"n": "two"},
    {"seed": 1.5},
    {"seed": "lucky"},
    {"seed": True},
    {"seed": 2**63},
    {"budget_tokens": 10**400},
    {"max_tokens": "1" * 5000},
    {"timeout": 0},
    {"timeout": float("inf")},
    {"timeout": "soon"},
    {"budget_tokens": 0},
    {"budget_tokens": 0.5},
    {"stop": ""},
    {"stop": ["a", ""]},
    {"stop": ["a", 3]},
    {"stop": 3},
    {"stop": b"a"},
    {"stop": {"a"}},
    {"search": "darwin"},
    {"search": Darwin},
    {"search": 3},
    {"search": RunnableLambda(str)},
    {"reward": 3},
    {"reward": lambda: 0.0},
    {"reward": Locked},
    {"model": 3},
    {"model": ""},
    {"model": ScriptedPolicy},
    {"model": "http://host:8000/m"},
    {"chat_template_kwargs": "off"},
    {"chat_template_kwargs": {1: 2}},
    {"reasoning_effort": "high"},
    {"base_url": "http://host"},
    {"min_token": 1},
]


@pytest.mark.parametrize("setting", REFUSED, ids=str)
def test_what_is_refused_is_refused_alike_before_anything_is_decoded(setting):
    constructor, bound, called = verdicts(**setting)
    assert constructor is not None
    assert Counting.asked == 0
    assert bound == called
    (name,) = setting
    limits = {"timeout": "seconds", "budget_tokens": "tokens", "reward": "reward"}
    assert name in constructor or limits[name] in constructor


ACCEPTED = [
    ({"temperature": 1}, 1.0),
    ({"temperature": "0.5"}, 0.5),
    ({"temperature": np.float32(0.5)}, 0.5),
    ({"temperature": np.array(0.5)}, 0.5),
    ({"temperature": torch.tensor(0.5)}, 0.5),
    ({"temperature": Decimal("0.5")}, 0.5),
    ({"temperature": Fraction(1, 2)}, 0.5),
    ({"top_k": np.int64(7)}, 7),
    ({"top_k": 7.0}, 7),
    ({"max_tokens": np.uint8(9)}, 9),
    ({"seed": -4}, -4),
    ({"seed": 2**62}, 2**62),
    ({"seed": torch.tensor(3)}, 3),
    ({"stop": "Observation:"}, ["Observation:"]),
    ({"stop": ("a", "b")}, ["a", "b"]),
    ({"stop": []}, []),
    ({"timeout": 1e6}, 1e6),
]


@pytest.mark.parametrize(("setting", "value"), ACCEPTED, ids=str)
def test_what_is_accepted_is_accepted_alike_as_a_built_in_type(setting, value):
    assert verdicts(**setting) == [None, None, None]
    (name,) = setting
    for found in (
        getattr(chat(**setting), name),
        getattr(chat().bind(**setting), name),
        getattr(CallSettings.resolve(chat(), None, setting), name),
    ):
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("name", sorted(PER_CALL & ChatDarwin.model_fields.keys()))
def test_none_is_not_given(name):
    assert verdicts(**{name: None}) == [None, None, None]
    assert getattr(chat().bind(**{name: None}), name) == getattr(chat(), name)


def test_a_stop_string_is_not_split_into_letters():
    model = chat(model=ScriptedPolicy(lambda conversation, tools: "Think. Observation: none"), max_tokens=40)
    texts = [
        model.invoke("q", stop="Observation:").text,
        model.bind(stop="Observation:").invoke("q").text,
        chat(model=model.model, stop="Observation:", max_tokens=40).invoke("q").text,
        "".join(chunk.text for chunk in model.stream("q", stop="Observation:")),
    ]
    assert texts == ["Think. "] * 4
    assert Sampling(stop="Observation:") == Sampling(stop=("Observation:",))


@pytest.mark.parametrize(("theirs", "ours"), SAME.items())
def test_other_packages_names_for_the_same_thing_are_accepted(theirs, ours):
    values = {"max_tokens": 7, "min_tokens": 2, "model": ScriptedPolicy(name="x"), "seed": 5, "stop": "a"}
    values |= {"reward": keyword_reward("sky")}
    if ours not in values:
        pytest.skip("only constructors take it")
    assert verdicts(**{theirs: values[ours]}) == [None, None, None]
    for model in (chat(**{theirs: values[ours]}), chat().bind(**{theirs: values[ours]})):
        same = chat(**{ours: values[ours]})
        assert model._get_llm_string() == same._get_llm_string() == chat()._get_llm_string(**{theirs: values[ours]})


def test_a_torch_type_is_a_dtype():
    made = [ChatDarwin(torch_dtype=torch.bfloat16), ChatDarwin(dtype=torch.bfloat16), ChatDarwin(dtype="bfloat16")]
    assert {model.dtype for model in made} == {"bfloat16"}


@pytest.mark.parametrize(("name", "hint"), ELSEWHERE.items())
def test_names_for_what_is_said_otherwise_have_a_hint(name, hint):
    for message in verdicts(**{name: 1}):
        assert message.endswith(f"{name!r}; {hint}")


def test_the_list_of_names_holds_no_internal_ones():
    with pytest.raises(InvalidRequestError, match="it takes") as caught:
        chat().invoke("hi", zzz=1)
    assert "darwin_" not in str(caught.value)


def test_one_setting_under_two_names_is_refused():
    assert (
        verdicts(max_completion_tokens=3, max_tokens=4)
        == ["'max_tokens' is given twice, under other packages' names; leave one of them out"] * 3
    )


@pytest.mark.parametrize("model", [GenericFakeChatModel(messages=iter([AIMessage("x")])), RunnableLambda(str)])
def test_a_langchain_model_as_the_model_is_told_what_model_takes(model):
    for message in verdicts(model=model):
        assert "is a LangChain model or chain, whose tokens no search can steer" in message
        assert "model= takes the Hub id or folder of a causal chat model" in message
        assert "Policy" in message


class TestIdentity:
    def test_every_field_is_in_it_or_says_why_not(self):
        values = {
            "model": ScriptedPolicy(name="other"),
            "reward": keyword_reward("sky"),
            "search": BestOfN(n=9),
            "temperature": 0.1,
            "top_p": 0.5,
            "top_k": 3,
            "max_tokens": 11,
            "min_tokens": 2,
            "stop": ["x"],
            "seed": 9,
            "timeout": 3.0,
            "budget_tokens": 999,
            "n": 2,
            "response_template": "hermes",
            "chat_template_kwargs": {"enable_thinking": False},
            "tools": [{"name": "f", "description": "F.", "parameters": {"type": "object", "properties": {}}}],
            "tool_choice": "none",
            "strict": True,
            "parallel_tool_calls": False,
            "response_format": {"type": "json_object"},
        }
        excluded = {e.name for e in dataclasses.fields(CallSettings) if e.metadata["excluded"]}
        assert excluded == {"trace", "on_search_event", "model_name"}
        assert excluded | values.keys() == {e.name for e in dataclasses.fields(CallSettings)}
        plain = chat()._get_llm_string()
        for name, value in values.items():
            if name in PER_CALL:
                assert chat()._get_llm_string(**{name: value}) != plain, name
            if name in ChatDarwin.model_fields:
                assert chat(**{name: value})._get_llm_string() != plain, name

    def test_it_is_json(self):
        assert json.loads(json.dumps(CallSettings.resolve(chat(), None, {}).identity))["policy"]["model"] == "scripted"

    def test_settings_of_a_call_and_of_the_model_share_a_key(self):
        given = {"temperature": 0.2, "search": BestOfN(n=4), "stop": "x"}
        keys = {chat(**given)._get_llm_string(), chat().bind(**given)._get_llm_string()}
        assert keys == {chat()._get_llm_string(**given)}

    async def test_it_is_not_computed_unless_a_cache_asks(self):
        class Unknowable:
            def __call__(self, messages, responses):
                return [0.0] * len(responses)

            def identity(self):
                raise AssertionError("no cache, no key")

        model = chat(reward=Unknowable())
        assert (
            model.invoke("hi").text == (await model.ainvoke("hi")).text == "".join(c.text for c in model.stream("hi"))
        )

    async def test_a_cache_survives_a_reward_without_identity(self, caplog):
        class Broken:
            def __call__(self, messages, responses):
                return [0.0] * len(responses)

            def identity(self):
                raise RecursionError

        model = chat(reward=Broken(), cache=InMemoryCache())
        assert model.invoke("hi").text == (await model.ainvoke("hi")).text
        assert "failed; a digest takes its place" in caplog.text


class Weather(BaseModel):
    """The weather."""

    degrees: int


def look(city: str) -> str:
    """Look."""
    return city


SIXTEEN = {"search": BestOfN(n=3), "max_tokens": 16}


class TestKept:
    """What was bound is kept by whatever is called next."""

    def asked(self, runnable):
        """The facts of the answer."""
        answer = runnable.invoke("hi")
        message = answer["raw"] if isinstance(answer, dict) else answer
        return message.response_metadata["darwin"]

    @pytest.mark.parametrize(
        "then",
        [
            lambda model: model.bind_tools([look]),
            lambda model: model.bind_tools([look]).bind(seed=4),
            lambda model: model.bind(seed=4).bind_tools([look]),
            lambda model: model.with_config(tags=["a"]).bind_tools([look]),
            lambda model: model.with_structured_output(Weather, include_raw=True),
            lambda model: model.bind_tools([look]).with_structured_output(Weather, include_raw=True),
            lambda model: model.configurable_fields(seed=ConfigurableField(id="seed")),
            lambda model: model.bind_tools([look]).configurable_fields(seed=ConfigurableField(id="seed")),
            copy.deepcopy,
            lambda model: model.with_retry(),
            lambda model: model.with_fallbacks([model]),
        ],
    )
    def test_settings(self, then):
        answer = '{"degrees": 3}'
        model = chat(model=ScriptedPolicy(lambda conversation, tools: answer)).bind(**SIXTEEN)
        found = self.asked(then(model))
        assert (found["search"], found["tokens"]["decoded"] % 3) == ("BestOfN", 0)

    def test_a_bound_setting_is_the_constructors(self):
        bound = chat().bind(**SIXTEEN)
        assert isinstance(bound, ChatDarwin)
        assert (bound.search, bound.max_tokens) == (BestOfN(n=3), 16)
        assert chat().search == BestOfN(n=2)

    def test_tools_are_kept_by_structured_output_and_by_settings(self):
        model = chat().bind_tools([look]).bind(temperature=0.1)
        assert [tool["function"]["name"] for tool in model.kwargs["tools"]] == ["look"]
        asked = []
        policy = ScriptedPolicy(lambda conversation, tools: asked.append(tools) or '{"degrees": 3}')
        chat(model=policy).bind_tools([look]).with_structured_output(Weather).invoke("hi")
        assert {tool["function"]["name"] for tool in asked[0]} == {"look"}

    def test_a_config_is_kept_by_tools(self):
        model = chat().with_config(tags=["a"]).bind_tools([look]).bind(seed=4)
        assert (model.config["tags"], model.bound.seed, len(model.kwargs["tools"])) == (["a"], 4, 1)

    def test_the_profile_follows_a_bound_model(self):
        assert chat().bind(model=ScriptedPolicy(name="b", context_length=77)).profile["max_input_tokens"] == 77

    def test_an_agent_runs_the_bound_search(self):
        from langchain.agents import create_agent

        for model in (chat().bind(search=BestOfN(n=4)), chat().with_config(tags=["a"]).bind(search=BestOfN(n=4))):
            state = create_agent(model, [look]).invoke({"messages": [("user", "hi")]})
            assert state["messages"][-1].response_metadata["darwin"]["judged"] == 4


class TestCopies:
    @pytest.mark.parametrize("wrap", [lambda r: r, lambda r: [r, (2.0, r)], lambda r: [(1.0, [r])]])
    def test_a_reward_with_a_lock_is_shared(self, wrap):
        model = chat(reward=wrap(Locked()), on_search_event=lambda event: None)
        model.invoke("hi")
        for each in (copy.deepcopy(model), copy.copy(model), model.model_copy()):
            assert each.invoke("hi").text == model.invoke("hi").text
        bound = model.bind_tools([look])
        assert copy.deepcopy(bound).invoke("hi").text == bound.invoke("hi").text
        copied = copy.deepcopy(model)
        assert copied.reward is model.reward
        assert (copied.metadata is model.metadata) is False

    def test_a_copy_with_another_reward_asks_that_one(self):
        model = chat()
        model.invoke("hi")
        other = model.model_copy(update={"reward": keyword_reward("sky"), "model": ScriptedPolicy(name="other")})
        assert other._get_invocation_params()["model"] == "other"
        assert other._get_llm_string() != model._get_llm_string()
        model.reward = Locked()
        assert model.invoke("hi").response_metadata["darwin"]["reward"] > 0


@pytest.mark.parametrize("field", ["search", "reward", "model", "on_search_event", "temperature", "stop"])
def test_configurable_fields_have_a_schema(field):
    model = chat().configurable_fields(**{field: ConfigurableField(id=field)})
    schema = model.get_config_jsonschema()
    assert field in str(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_a_refusal_by_the_constructor_is_pydantics_and_holds_ours():
    with pytest.raises(ValidationError) as caught:
        chat(temperature=-1)
    assert isinstance(caught.value, ValueError)
    (found,) = caught.value.errors()
    assert type(found["ctx"]["error"]) is ConfigurationError
