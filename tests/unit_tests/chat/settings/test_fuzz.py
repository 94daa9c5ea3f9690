"""Random settings: constructor, `bind` and call give one verdict before anything is decoded. Streams equal `invoke`.

`DARWIN_FUZZ=5000` tries more of them. Without it the examples are the same in every run.
"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from langchain_darwin import BestOfN, ChatDarwin, Darwin, MajorityVote
from langchain_darwin.chat.settings.call import PER_CALL, CallSettings
from langchain_darwin.errors import DarwinError, SearchTimeoutError
from langchain_darwin.search.args import ARGS
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.particles import Particles
from langchain_darwin.search.soft_best_of_n import SoftBestOfN
from langchain_darwin.search.speculative_rejection import SpeculativeRejection
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

MORE = int(os.environ.get("DARWIN_FUZZ", "0"))


def examples(usual):
    """The same examples in every run, or as many as are asked for."""
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=MORE or usual, derandomize=not MORE, deadline=None, suppress_health_check=quiet)


class Asked(Exception):
    """The policy was asked for tokens: the settings have been accepted."""


class Asking(ScriptedPolicy):
    """A policy that decodes nothing, and says that it was asked to."""

    def submit(self, *arguments, **named):
        raise Asked


SHARED = {"model": Asking(), "reward": keyword_reward("sea"), "search": BestOfN(n=2), "seed": 1, "max_tokens": 12}

edges = [0, 1, -1, 2**31, 2**63, 10**400, 0.0, -0.0, 1.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")]
scalars = st.one_of(
    st.sampled_from(edges),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from([np.float32(0.5), np.int64(3), np.bool_(1), np.uint8(0), np.float64("nan"), np.array(2)]),
)
texts = st.one_of(st.text(max_size=5), st.sampled_from(["1", "0.5", "nan", " 3 ", "1e3", "true", "", "\ud83d", "\x00"]))
things = st.one_of(
    scalars,
    texts,
    st.binary(max_size=3),
    st.lists(st.one_of(texts, scalars), max_size=3),
    st.dictionaries(texts, scalars, max_size=2),
    st.sampled_from(
        [object(), int, BestOfN, BestOfN(n=3), Darwin(), print, keyword_reward("sky"), (), {"a"}, np.ones(2)]
    ),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
)
FIELDS = sorted(PER_CALL & ChatDarwin.model_fields.keys())


def verdict(give):
    """The error's message, or None where the settings are accepted."""
    try:
        give()
    except (Asked, SearchTimeoutError):  # so little time or so few tokens are a limit, not a mistake
        return None
    except ValidationError as error:
        (found, *_) = error.errors()
        assert isinstance(found["ctx"]["error"], DarwinError), found
        return str(found["ctx"]["error"])
    except DarwinError as error:
        return str(error)
    return None


def invoke(setting):
    ChatDarwin(**SHARED).invoke("hi", **setting)
    raise AssertionError("the policy was never asked")


@examples(400)
@given(st.dictionaries(st.sampled_from(FIELDS), things, min_size=1, max_size=2))
def test_one_verdict_for_constructor_bind_and_call(setting):
    for name in ("model", "reward"):
        if isinstance(setting.get(name), str) and (name == "model" or setting[name].strip()):
            del setting[name]  # a name is a model that is looked for when it is loaded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = verdict(lambda: ChatDarwin(**{**SHARED, **setting}))
        bound = verdict(lambda: ChatDarwin(**SHARED).bind(**setting))
        called = verdict(lambda: invoke(setting))
    assert bound == called
    assert (built is None) == (called is None)
    if called is None:
        made = CallSettings.resolve(ChatDarwin(**SHARED), None, setting)
        numbers = [getattr(made, name) for name in setting if name not in ("model", "reward", "search")]
        assert {type(value) for value in numbers} <= {int, float, list, dict, str}


@examples(150)
@given(st.text(min_size=1, max_size=12), things)
def test_a_name_is_known_everywhere_or_nowhere(name, value):
    setting = {name: value}
    answers = [
        verdict(lambda: ChatDarwin(**{**SHARED, **setting})),
        verdict(lambda: ChatDarwin(**SHARED).bind(**setting)),
        verdict(lambda: invoke(setting)),
    ]
    if name not in ChatDarwin.model_fields and name not in PER_CALL:
        assert all(repr(name) in answer for answer in answers)


SEARCHES = [
    BestOfN(n=1),
    BestOfN(n=3),
    Darwin(period=4),
    Darwin(period=6, replacement="top_k"),
    SoftBestOfN(n=3),
    MajorityVote(n=3),
    BlockwiseBestOfK(k=2, block=5),
    Particles(n=3, period=5),
    SpeculativeRejection(n=4, first=4),
    ARGS(top_k=3),
]


@examples(60)
@given(
    search=st.sampled_from(SEARCHES),
    seed=st.integers(0, 2**31),
    temperature=st.floats(0.1, 3),
    top_k=st.integers(0, 12),
    lengths=st.tuples(st.integers(1, 30), st.integers(0, 30)).map(sorted),
    stop=st.lists(st.sampled_from(["sea", " the", "a", "r", "e s"]), max_size=2, unique=True),
)
def test_a_stream_joined_is_the_answer_of_invoke(search, seed, temperature, top_k, lengths, stop):
    least, most = lengths
    drawn = {"temperature": temperature, "top_k": top_k, "min_tokens": least, "max_tokens": max(1, most), "stop": stop}
    model = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward("sea"), search=search, seed=seed, **drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as top_k=1
        answer = model.invoke("Write a line")
        chunks = list(model.stream("Write a line"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == answer.text
    assert whole.usage_metadata == answer.usage_metadata
    facts = [{**each.response_metadata["darwin"], "seconds": None} for each in (whole, answer)]
    assert facts[0] == facts[1]


def test_the_same_examples_are_tried_in_every_run():
    if MORE:
        pytest.skip("DARWIN_FUZZ asks for others")
    assert examples(3)(given(st.none())(lambda value: None))._hypothesis_internal_use_settings.derandomize
