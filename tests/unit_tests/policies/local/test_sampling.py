"""Draws: reproducible, independent of the batch, and distributed as asked."""

import pytest
import torch

from langchain_darwin.policies.base import Sampling
from langchain_darwin.policies.local.sampling import draw, make_metadata, uniforms

CPU = torch.device("cpu")
MIXED = [
    Sampling(temperature=0),
    Sampling(temperature=1.0, top_k=0),
    Sampling(temperature=0.7, top_k=40),
    Sampling(temperature=1.3, top_k=5, top_p=0.6),
    Sampling(temperature=1.0, top_k=0, top_p=0.9),
    Sampling(temperature=2.0, top_k=1),
    Sampling(temperature=1.0, top_k=0, top_p=0.01),
]


def plan_of(samplings, keys, floors=None, ends=(2,)):
    return make_metadata(samplings, keys, floors or [0] * len(keys), ends, CPU)


def logits_of(rows, vocabulary=5000, coarse=False):
    logits = torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(3)) * 3
    return logits.bfloat16().float() if coarse else logits  # coarse: with many equal logits


@pytest.mark.parametrize("coarse", [False, True])
def test_a_batch_equals_its_rows_bit_for_bit(coarse):
    logits = logits_of(len(MIXED), coarse=coarse)
    keys = [11 * i - 2**40 for i in range(len(MIXED))]
    for position in range(20):
        places = torch.full((len(MIXED),), position)
        tokens, logprobs = draw(logits, plan_of(MIXED, keys), places)
        for i, sampling in enumerate(MIXED):
            one, logprob = draw(logits[i : i + 1], plan_of([sampling], keys[i : i + 1]), places[:1])
            assert (one.item(), logprob.item()) == (tokens[i].item(), logprobs[i].item())


def counts(sampling, logits, draws=20_000):
    plan = plan_of([sampling] * draws, range(draws))
    tokens, _ = draw(logits.expand(draws, -1), plan, torch.zeros(draws, dtype=torch.long))
    return torch.bincount(tokens, minlength=logits.shape[-1]) / draws


LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(temperature=1.0, top_k=0), [0, 1, 2, 3, 4]),
        (Sampling(temperature=0.5, top_k=0), [0, 1, 2, 3, 4]),
        (Sampling(temperature=1.0, top_k=3), [0, 1, 3]),
        (Sampling(temperature=1.0, top_k=0, top_p=0.75), [1, 3]),
        (Sampling(temperature=1.0, top_k=3, top_p=0.85), [1, 3]),
        (Sampling(temperature=0), [1]),
    ],
)
def test_frequencies_follow_the_distribution(sampling, kept):
    expected = torch.zeros(5)
    expected[kept] = (LOGITS[kept] / (sampling.temperature or 1)).softmax(-1)
    torch.testing.assert_close(counts(sampling, LOGITS), expected, atol=0.012, rtol=0)


def test_a_flat_distribution_widens_the_nucleus():
    """More tokens are needed for the top-p than are looked at first."""
    found = counts(Sampling(temperature=1.0, top_k=0, top_p=0.9), torch.linspace(0, 1e-3, 3000), 400)
    assert found[:299].sum() == 0
    assert found[301:].sum() > 0.99


def test_log_probabilities_are_the_models_own():
    logits = logits_of(len(MIXED))
    plan = plan_of(MIXED, range(len(MIXED)), ends=(int(logits[0].argmax()),), floors=[5] * len(MIXED))
    tokens, logprobs = draw(logits, plan, torch.zeros(len(MIXED), dtype=torch.long))
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0])


def test_end_tokens_wait_for_their_floor():
    logits = torch.zeros(2, 50)
    logits[:, 2] = 20.0
    plan = plan_of([Sampling(temperature=0), Sampling(temperature=0)], [0, 1], floors=[0, 9])
    assert [t.item() == 2 for t in draw(logits, plan, torch.tensor([8, 8]))[0]] == [True, False]
    assert [t.item() == 2 for t in draw(logits, plan, torch.tensor([9, 9]))[0]] == [True, True]


def test_a_grammar_leaves_only_its_tokens():
    allowed = torch.zeros(1, 157, dtype=torch.int32)
    allowed[0, 1] = -(2**31)  # bit 31 of word 1: token 63
    for sampling in MIXED:
        token, logprob = draw(logits_of(1), plan_of([sampling], [1]), torch.tensor([4]), allowed=allowed)
        assert token.item() == 63
        assert logprob.item() == pytest.approx(logits_of(1).log_softmax(-1)[0, 63].item())


def test_uniforms_are_uniform_and_never_repeat_across_keys_and_positions():
    keys, positions = torch.arange(-100, 100).repeat(100), torch.arange(100).repeat_interleave(200)
    drawn = uniforms(keys, positions)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.histc(10, 0, 1).min() > 1800
    lagged = torch.corrcoef(torch.stack([drawn.view(100, 200)[1:].flatten(), drawn.view(100, 200)[:-1].flatten()]))
    assert abs(lagged[0, 1].item()) < 0.03


def test_uniforms_are_pinned():
    """A change here changes every seeded answer."""
    drawn = uniforms(torch.tensor([0, 1, -1]), torch.tensor([0, 5, 7]))
    assert drawn.tolist() == uniforms_by_hand([(0, 0), (1, 5), (2**64 - 1, 7)])


def uniforms_by_hand(pairs):
    """SplitMix64's output function in unbounded integers."""

    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    return [(mix((mix(key) + place * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24 for key, place in pairs]
