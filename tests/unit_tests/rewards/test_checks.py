"""What a reward may return, and what it is told otherwise."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from langchain_core.messages import AIMessage

from langchain_darwin.errors import RewardError
from langchain_darwin.rewards import as_reward

RESPONSES = [AIMessage(text) for text in ("a", "bb", "ccc")]
SCORES = [1.0, 2.0, 3.0]


def scores(values, count=3):
    return as_reward(lambda messages, responses: values, name="mine").score([], RESPONSES[:count])


def error(values, count=3):
    with pytest.raises(RewardError) as caught:
        scores(values, count)
    assert caught.value.reward == "mine"
    return str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        {1.0: "a", 2.0: "b", 3.0: "c"}.keys(),
        {"a": 1, "b": 2, "c": 3}.values(),
        (float(at) for at in range(1, 4)),
        map(float, (1, 2, 3)),
        [Decimal(1), Fraction(2), np.float16(3)],
        [np.float64(1), np.int8(2), torch.tensor(3)],
        [[1], (2,), np.array([3])],
        [torch.tensor([1.0]), torch.tensor([[2.0]]), 3],
        np.array([1, 2, 3]),
        np.array([[1], [2], [3]], dtype=np.float32),
        np.array([1, 2, 3], dtype=object),
        np.ma.array([1, 2, 3]),
        torch.tensor([1, 2, 3]),
        torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.bfloat16),
        torch.tensor([1.0, 2.0, 3.0], requires_grad=True),
        torch.ones(3, 1, 1).cumsum(0),
    ],
    ids=repr,
)
def test_what_holds_one_number_per_response_is_taken(values):
    found = scores(values)

    assert found == SCORES
    assert [type(score) for score in found] == [float] * 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((3, 2)), "returned ndarray of shape (3, 2) for 3 responses: return one number per response"),
        (torch.ones(1, 3), "returned Tensor of shape (1, 3) for 3 responses: return one number per response"),
        (torch.ones(2, 3, 4), "returned Tensor of shape (2, 3, 4) for 3 responses"),
        (np.ones((3, 0)), "returned ndarray of shape (3, 0) for 3 responses"),
        ([[1, 2], [3, 4], [5, 6]], "returned [[1, 2], [3, 4], [5, 6]] for 3 responses: return one number per"),
        ([{"score": 1}] * 3, "returned [{'score': 1}, {'score': 1}, {'score': 1}] for 3 responses"),
        (([1.0, 2.0, 3.0], {"loss": 1}), "returned ([1.0, 2.0, 3.0], {'loss': 1}) for 3 responses"),
        ([1.0, [2.0, 0.1], 3.0], "returned [1.0, [2.0, 0.1], 3.0] for 3 responses"),
        ({"a": 1.0, "b": 2.0, "c": 3.0}, "returned {'a': 1.0, 'b': 2.0, 'c': 3.0}: return a list with one number"),
        ({1.0, 2.0, 3.0}, "returned {1.0, 2.0, 3.0}: return a list with one number per response"),
        (frozenset({1.0}), "returned frozenset({1.0}): return a list"),
        (bytearray(b"abc"), "returned bytearray(b'abc'): return a list"),
        (np.float64(1), "returned np.float64(1.0): return a list with one number per response, or decorate"),
        (torch.tensor(1.0), "returned tensor(1.): return a list with one number per response, or decorate"),
        (np.array(["a", "b", "c"]), "returned 'a' for response 1 of 3: every score must be a finite number"),
        (np.array([1, np.nan, 3]), "returned nan for response 2 of 3: every score must be a finite number"),
        ([1j, 2, 3], "returned 1j for response 1 of 3: every score must be a finite number"),
        (itertools.repeat(1.0), "returned more than 3 scores for 3 responses: return one number per response"),
        (np.ones(4), "returned more than 3 scores for 3 responses"),
        (torch.ones(2, 1), "returned 2 scores for 3 responses"),
    ],
    ids=repr,
)
def test_other_shapes_are_an_error_that_names_what_came_and_what_is_wanted(values, said):
    assert error(values).startswith(f"reward 'mine' {said}")


def test_the_wanted_shape_is_named():
    assert error(np.ones((3, 2))).endswith("a list of 3, or an array of shape (3,)")
    assert error([[1, 2]], count=1).endswith(
        "returned [[1, 2]] for 1 response: return one number per response: a list of 1, or an array of shape (1,)"
    )


@pytest.mark.parametrize(
    "method", ["__iter__", "__len__", "__float__", "tolist", "__getitem__"], ids=lambda method: method.strip("_")
)
def test_a_value_that_fails_when_it_is_read_is_the_reward_s_error(method):
    def fails(self, *_):
        raise LookupError("no scores")

    odd = type("Odd", (), {"__iter__": lambda self: iter([1, 2, 3]), method: fails})()

    if method in ("__iter__", "tolist"):
        assert "raised LookupError: no scores" in error(odd)
    elif method == "__float__":
        assert "raised LookupError: no scores" in error([odd, 1, 2])
    else:
        assert scores(odd) == SCORES
