"""Drawing the next token of many rows at once, each row from its own reproducible random stream.

A draw depends on the row's logits, settings, key and position alone. Not on the other rows, not on a global
generator, and not on how often something was drawn before. Generation can therefore stop and go on anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from langchain_darwin.policies.base import Sampling

_GAMMA = 0x9E3779B97F4A7C15  # the constants of SplitMix64
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_UNIFORM_BITS = 24  # as many as a float32 holds exactly
_SPARE = 16  # equal logits beyond the k-th that are still seen
_ALL = 2**31
_NUCLEUS = 1024  # logits looked at first for a top-p without a top-k
_GREEDY = Sampling(temperature=0, top_k=0)  # stands for all settings of temperature 0, whose cuts change nothing


@dataclass(frozen=True, eq=False)
class SamplingMetadata:
    """How to draw for each row of a batch; made once and used until the batch changes.

    Attributes:
        keys: Keys of the rows' random streams, int64 `[B]`.
        floors: Positions before which end tokens are forbidden, int64 `[B]`.
        end_ids: Token ids that end a response, int64 `[E]`.
        temperatures: Float32 `[B, 1]`, 1 for greedy rows.
        greedy: Rows that take the likeliest token, `[B]`, or None if there are none.
        cut: Rows with a top-k or top-p, `[B]`, or None if there are none.
        plain: Whether any row draws from the whole vocabulary.
        top_k: Int64 `[B, 1]`; more than any vocabulary for rows without one.
        top_p: Float32 `[B, 1]`, or None if no row has one.
        whole_p: Rows with a top-p of the whole distribution, having no top-k, `[B, 1]`, or None if there are
            none.
        candidates: How many of the largest logits are looked at for rows with a top-k or top-p.
        last_floor: Largest of `floors`.
    """

    keys: torch.Tensor
    floors: torch.Tensor
    end_ids: torch.Tensor
    temperatures: torch.Tensor
    greedy: torch.Tensor | None
    cut: torch.Tensor | None
    plain: bool
    top_k: torch.Tensor
    top_p: torch.Tensor | None
    whole_p: torch.Tensor | None
    candidates: int
    last_floor: int


def make_metadata(
    samplings: Sequence[Sampling],
    keys: Sequence[int],
    floors: Sequence[int],
    end_ids: Sequence[int],
    device: torch.device,
) -> SamplingMetadata:
    """Make the metadata of a batch; arguments by row, `floors[i]` the first position at which row i may end."""
    rows = [sampling if sampling.temperature > 0 else _GREEDY for sampling in samplings]
    greedy = [row is _GREEDY for row in rows]
    cut = [row.top_k > 0 or row.top_p < 1 for row in rows]
    whole_p = [row.top_p < 1 and row.top_k == 0 for row in rows]
    most = max(row.top_k for row in rows) + _SPARE
    # One upload of whole numbers and one of the others: each upload waits for the device.
    whole = torch.tensor(
        [[_signed(key) for key in keys], floors, [row.top_k or _ALL for row in rows], greedy, cut, whole_p],
        dtype=torch.long,
    ).to(device)
    real = torch.tensor([[row.temperature or 1.0 for row in rows], [row.top_p for row in rows]]).to(device)
    return SamplingMetadata(
        keys=whole[0],
        floors=whole[1],
        end_ids=torch.tensor(sorted(end_ids), dtype=torch.long).to(device),
        temperatures=real[0, :, None],
        greedy=whole[3].bool() if any(greedy) else None,
        cut=whole[4].bool() if any(cut) else None,
        plain=not all(g or c for g, c in zip(greedy, cut, strict=True)),
        top_k=whole[2, :, None],
        top_p=real[1, :, None] if any(row.top_p < 1 for row in rows) else None,
        whole_p=whole[5, :, None].bool() if any(whole_p) else None,
        candidates=max(most, _NUCLEUS) if any(whole_p) else most,
        last_floor=max(floors),
    )


def draw(
    logits: torch.Tensor,
    metadata: SamplingMetadata,
    positions: torch.Tensor,
    *,
    first_position: int = 0,
    allowed: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the next token of every row.

    Args:
        logits: Float32 `[B, V]`.
        metadata: The batch's.
        positions: Index in its text of the token to draw, int64 `[B]`.
        first_position: A lower bound of `positions` known to the host; saves work once all rows may end.
        allowed: Tokens that a grammar allows, as bits of int32 `[B, ceil(V / 32)]`, lowest bit first; None
            for all.

    Returns:
        Token ids `[B]`, and the natural logarithms `[B]` of their probabilities under the model itself: at
        temperature 1, with nothing forbidden.
    """
    masked = logits
    if allowed is not None:
        masked = logits.masked_fill(~_unpack(allowed, logits.shape[-1]), -torch.inf)
    if first_position < metadata.last_floor:
        ends = masked[:, metadata.end_ids]
        masked[:, metadata.end_ids] = ends.masked_fill((positions < metadata.floors)[:, None], -torch.inf)
        tokens = _choose(masked, metadata, positions)
        masked[:, metadata.end_ids] = ends  # changed in place and back, which is cheaper than a copy
    else:
        tokens = _choose(masked, metadata, positions)
    return tokens, logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)


def uniforms(keys: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Random numbers in [0, 1), float32 `[B]`: a hash of key and position.

    The hash is the output function of SplitMix64, with the constants of Stafford's variant 13. It is applied to
    the mixed key plus `position` steps. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014.
    """
    mixed = _mix(_mix(keys) + positions * _signed(_GAMMA))
    return _shift(mixed, 64 - _UNIFORM_BITS).to(torch.float32) * 2.0**-_UNIFORM_BITS


def _choose(logits: torch.Tensor, metadata: SamplingMetadata, positions: torch.Tensor) -> torch.Tensor:
    """Tokens of all rows; each row's own way of drawing decides, whatever the others need."""
    tokens = None
    if metadata.plain or metadata.cut is not None:
        random = uniforms(metadata.keys, positions)[:, None]
    if metadata.plain:
        tokens = _draw_from_all(logits, metadata, random)
    if metadata.cut is not None:
        drawn = _draw_from_best(logits, metadata, random)
        tokens = drawn if tokens is None else torch.where(metadata.cut, drawn, tokens)
    if metadata.greedy is not None:
        likeliest = logits.argmax(dim=-1)
        tokens = likeliest if tokens is None else torch.where(metadata.greedy, likeliest, tokens)
    assert tokens is not None  # noqa: S101  (a row is plain, cut or greedy)
    return tokens


def _draw_from_all(logits: torch.Tensor, metadata: SamplingMetadata, random: torch.Tensor) -> torch.Tensor:
    scaled = logits / metadata.temperatures
    weights = (scaled - scaled.amax(dim=-1, keepdim=True)).exp_()
    return _invert(weights, random)[:, 0]


def _draw_from_best(logits: torch.Tensor, metadata: SamplingMetadata, random: torch.Tensor) -> torch.Tensor:
    """Draw among each row's top-k and, of these, top-p.

    Cuts are made by value, so that equal logits are kept or dropped together, and what is kept is put into
    the vocabulary's order. How top-k orders equal logits then makes no difference.
    """
    best, ids = logits.topk(min(metadata.candidates, logits.shape[-1]), dim=-1)
    weights = ((best - best[:, :1]) / metadata.temperatures).exp_()
    if metadata.whole_p is not None and not _covers_nucleus(logits, best, weights, metadata):
        best, ids = logits.sort(dim=-1, descending=True)
        weights = ((best - best[:, :1]) / metadata.temperatures).exp_()
    least = best.gather(1, metadata.top_k.clamp(max=best.shape[-1]) - 1)
    weights = weights.masked_fill(best < least, 0.0)
    if metadata.top_p is not None:
        total = weights.sum(dim=-1, keepdim=True)
        if metadata.whole_p is not None:
            total = torch.where(metadata.whole_p, _total(logits, best, metadata), total)
        kept = weights.cumsum(dim=-1) - weights < metadata.top_p * total
        least = weights.masked_fill(~kept, torch.inf).amin(dim=-1, keepdim=True)
        weights = weights.masked_fill(weights < least, 0.0)
    ids, order = ids.sort(dim=-1)
    return ids.gather(1, _invert(weights.gather(1, order), random))[:, 0]


def _covers_nucleus(
    logits: torch.Tensor, best: torch.Tensor, weights: torch.Tensor, metadata: SamplingMetadata
) -> bool:
    """Return True if the candidates are known to suffice for every row with a top-p of the whole distribution.

    On the CPU it is looked up. Elsewhere it would be a wait for the device, which costs more than to sort all logits.
    """
    assert metadata.whole_p is not None  # noqa: S101
    assert metadata.top_p is not None  # noqa: S101
    if logits.device.type != "cpu":
        return False
    enough = weights.sum(dim=-1, keepdim=True) >= metadata.top_p * _total(logits, best, metadata)
    return bool((enough | ~metadata.whole_p).all())


def _total(logits: torch.Tensor, best: torch.Tensor, metadata: SamplingMetadata) -> torch.Tensor:
    """Sum of the weights of the whole vocabulary `[B, 1]`, the largest weight being 1."""
    return ((logits - best[:, :1]) / metadata.temperatures).exp_().sum(dim=-1, keepdim=True)


def _invert(weights: torch.Tensor, random: torch.Tensor) -> torch.Tensor:
    """Index `[B, 1]` at which the cumulative weights pass the share `random` of their sum; its weight is not 0.

    Sums in float32 may decrease by rounding where a device adds in blocks. Then a search for the place could end
    beside it, at a weight of 0, a forbidden token. Here such places cannot be found. The total is the largest
    sum at a place that may be drawn, and `random` is below 1, so that there always is a place. Where sums do not
    decrease, the place is that of an exact search.
    """
    sums = weights.cumsum(dim=-1).masked_fill(weights <= 0, 0.0)
    passed = sums > random * sums.amax(dim=-1, keepdim=True)
    return passed.to(torch.uint8).argmax(dim=-1, keepdim=True)  # the first of equal ones


def _unpack(bits: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Bits of int32 words `[B, W]` as booleans `[B, vocabulary]`."""
    shifts = torch.arange(32, dtype=torch.int32, device=bits.device)
    return ((bits[:, :, None] >> shifts) & 1).flatten(1)[:, :vocabulary].bool()


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX_2)
    return x ^ _shift(x, 31)


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    """A 64-bit pattern as the signed integer that torch holds."""
    x &= (1 << 64) - 1
    return x - (1 << 64) if x >> 63 else x
