"""Properties of draws: never a forbidden token, the right distribution, cuts and ties, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_darwin.policies.base import Sampling
from langchain_darwin.policies.local import sampling as module
from langchain_darwin.policies.local.sampling import draw, make_metadata

CPU = torch.device("cpu")

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0, 0.01, 0.7, 1.0, 5.0]),
    top_k=st.sampled_from([0, 1, 2, 40, 10_000]),
    top_p=st.sampled_from([1.0, 0.9, 0.3, 1e-6]),
)
logit = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, 1.0])


def drawn(logits, sampling, keys, allowed=None):
    keys = list(keys)
    metadata = make_metadata([sampling] * len(keys), keys, [0] * len(keys), [0], CPU)
    mask = None if allowed is None else bits_of(allowed, logits.shape[-1]).expand(len(keys), -1)
    rows = logits.expand(len(keys), -1).clone()
    return draw(rows, metadata, torch.zeros(len(keys), dtype=torch.long), allowed=mask)[0].tolist()


def bits_of(tokens, vocabulary):
    """A grammar's mask, int32 `[1, ceil(vocabulary / 32)]`."""
    bits = np.zeros(-(-vocabulary // 32) * 32, np.uint8)
    bits[list(tokens)] = 1
    return torch.from_numpy(np.packbits(bits, bitorder="little").view(np.int32).copy())[None]


def kept(logits, sampling):
    """What a draw may be, by the definitions: equal logits are kept or dropped together."""
    values = (logits.double() / (sampling.temperature or 1)).numpy()
    if not sampling.temperature:
        return {int(np.argmax(values))}
    alive = values >= np.sort(values)[-min(sampling.top_k or len(values), len(values))]
    weights = np.where(alive, np.exp(values - values.max()), 0)
    order = np.argsort(-weights, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    least = weights[order][before < sampling.top_p * weights.sum() + 1e-6].min()
    return {i for i, weight in enumerate(weights) if weight >= least - 1e-6 and alive[i]}


@settings(max_examples=150, deadline=None)
@given(st.lists(logit, min_size=1, max_size=70), samplings, st.integers(-(2**63), 2**63 - 1))
def test_draws_are_among_what_the_settings_keep(logits, sampling, key):
    logits = torch.tensor(logits)
    assert set(drawn(logits, sampling, range(key % 1000, key % 1000 + 8))) <= kept(logits, sampling)


@settings(max_examples=40, deadline=None)
@given(st.lists(logit, min_size=40, max_size=70), samplings, st.sets(st.integers(0, 39), min_size=1, max_size=10))
def test_draws_follow_the_mask_of_a_grammar(logits, sampling, allowed):
    assert set(drawn(torch.tensor(logits), sampling, range(16), allowed)) <= allowed


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=t, top_k=k, top_p=p) for t, k, p in [(1, 0, 1), (0.7, 40, 1), (2, 0, 0.95)]]
)
def test_a_mask_of_ten_tokens_in_a_large_vocabulary_is_never_left(sampling):
    logits = torch.randn(50_000, generator=torch.Generator().manual_seed(1)) * 5
    allowed = set(range(3, 50_000, 5_000))
    for start in range(0, 600, 100):
        assert set(drawn(logits, sampling, range(start, start + 100), allowed)) <= allowed


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 10**6))
def test_frequencies_are_those_of_the_softmax(logits, temperature, seed):
    """By chi-square: the 1 - 1e-6 quantile for 11 degrees of freedom is 49.5."""
    logits, draws = torch.tensor(logits), 3_000
    found = np.bincount(
        drawn(logits, Sampling(temperature=temperature, top_k=0), range(seed, seed + draws)), minlength=len(logits)
    )
    expected = (logits.double() / temperature).softmax(-1).numpy() * draws
    likely = expected >= 5
    rest = expected[~likely].sum()
    distance = ((found - expected)[likely] ** 2 / expected[likely]).sum()
    assert distance < 55
    assert found[~likely].sum() < rest + 6 * (rest + 1) ** 0.5


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40), st.data())
def test_a_place_of_no_weight_is_not_found_even_if_sums_decrease(weights, data):
    """As where a device adds in blocks: its sums are off by a little, in either direction, also where weights are 0."""
    weights = torch.tensor(weights)[None] * torch.tensor([data.draw(st.booleans()) for _ in weights])[None]
    if not (weights > 1e-30).any():
        return
    noise = torch.tensor([data.draw(st.floats(-1e-3, 1e-3)) for _ in range(weights.shape[-1])])

    class Noisy(torch.Tensor):
        def cumsum(self, dim):
            return (torch.Tensor.cumsum(self.as_subclass(torch.Tensor), dim) + noise).clamp(min=1e-38)

    share = torch.tensor([[data.draw(st.floats(0, 1, exclude_max=True, width=32))]])
    place = module._invert(weights.as_subclass(Noisy), share)
    assert weights[0, int(place)] > 0


def test_the_largest_random_number_finds_a_token_that_is_allowed():
    weights = torch.tensor([[0.3, 0.1, 0.7, 0.0, 0.0]])
    for bits in range(1, 40):
        share = torch.tensor([[1 - 2.0**-24]]) * torch.tensor([[1.0]])
        assert int(module._invert(weights * 1.1**bits, share)) == 2
    assert int(module._invert(torch.tensor([[0.0, 0.0, 0.5]]), torch.tensor([[0.0]]))) == 2


@given(st.integers(2, 60), st.sampled_from([1, 2, 5]))
def test_equal_logits_stay_together_at_the_cut(count, top_k):
    found = set(drawn(torch.zeros(count), Sampling(temperature=1.0, top_k=top_k), range(400)))
    assert len(found) > min(count, top_k) * 0.5
    assert drawn(torch.zeros(count), Sampling(temperature=0), range(3)) == [0, 0, 0]


def test_temperature_near_zero_draws_the_likeliest():
    logits = torch.tensor([1.0, 1.5, 1.4])
    assert set(drawn(logits, Sampling(temperature=1e-3, top_k=0), range(500))) == {1}
