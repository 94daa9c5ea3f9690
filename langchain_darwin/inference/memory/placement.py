"""Where texts go in memory: decided in numpy alone, carried out elsewhere.

A slot holds the beginning of one text. The first `live` slots belong to rows being decoded and are never written.
All other own slots are idle: they remember texts of the past, and may be overwritten. Slots of other tables can be
copied from, but not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ids: TypeAlias = "NDArray[np.int32]"

_WORTH_WAITING = 16  # tokens; sharing at least so many more with a sibling is worth one more forward pass
_SHORT_END = 4  # tokens, of a turn's end or a last word; not worth keeping a copy of a text for


@dataclass(frozen=True)
class Plan:
    """Copies, then swaps, after which slot `seats[i]` begins with the first `reused[i]` tokens of text `i`.

    Attributes:
        copies: Source slot, target slot and number of tokens of each, to be carried out in this order.
        swaps: Pairs of idle slots that exchange what they hold, after the copies.
        seats: A slot for each text.
        reused: Tokens of each text that need not be computed; always fewer than it has.
    """

    copies: tuple[tuple[int, int, int], ...]
    swaps: tuple[tuple[int, int], ...]
    seats: tuple[int, ...]
    reused: tuple[int, ...]


def shared_prefixes(text: Ids, tokens: Ids, held: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lengths `[slots]` of the longest common prefixes of `text` and the first `held[i]` of `tokens[i]`."""
    width = min(len(text), tokens.shape[1])
    if width == 0:
        return np.zeros(len(held), np.int64)
    differs = tokens[:, :width] != text[:width]
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
    shared: NDArray[np.int64] = np.minimum(first, held)
    return shared


def place(
    lengths: Sequence[int],
    shared: NDArray[np.int64],
    held: NDArray[np.int64],
    used: NDArray[np.int64],
    live: int,
    *,
    anywhere: bool = False,
) -> Plan:
    """Give each text an idle slot that holds as much of its beginning as any slot does.

    No plan makes fewer tokens have to be computed. Text `i` reuses the most that one slot shares with it, short of
    its last token, even where texts need one another's slots. Of idle slots, the one used longest ago is
    overwritten first, unless a text still to be placed needs it. The number of tokens copied is not minimised.

    Args:
        lengths: Tokens of each text.
        shared: Common prefixes `[texts, slots]` of texts and slots, those of other tables last.
        held: Tokens that each own slot holds; there are at least `live + len(lengths)` own slots.
        used: Time of each own slot's last use; 0 is never.
        live: Number of leading slots that must not be written.
        anywhere: Seat the texts in the neighbouring idle slots that need the fewest swaps, instead of those
            right behind the live ones.
    """
    gains = np.minimum(shared, np.asarray(lengths, np.int64)[:, None] - 1)
    homes = _in_place(gains, held, live)
    copies = _copies(gains, homes, used, live)
    reused = [int(gain.max(initial=0)) for gain in gains]
    first = _nearest_block([*homes.values()], live, len(held)) if anywhere else live
    missing = [length - known for length, known in zip(lengths, reused, strict=True)]
    swaps, seats = _seat(homes, missing, range(first, first + len(lengths)))
    return Plan(tuple(copies), tuple(swaps), tuple(seats[i] for i in range(len(lengths))), tuple(reused))


def split_wave(texts: Sequence[Ids], known: Sequence[int]) -> tuple[list[int], list[int]]:
    """Divide texts into those to compute now and those that will then copy much from one of them.

    Args:
        texts: Token ids of each.
        known: How many leading tokens of each are in memory.
    """
    now: list[int] = []
    later: list[int] = []
    for i, text in enumerate(texts):
        sibling = max((_common(text, texts[other]) for other in now), default=0)
        most = len(text) - 1
        gain = min(sibling, most) - known[i]
        (later if gain >= min(_WORTH_WAITING, most - known[i]) > 0 else now).append(i)
    return now, later


def _in_place(gains: NDArray[np.int64], held: NDArray[np.int64], live: int) -> dict[int, int]:
    """Idle slots, by text, of which all but a short end begins that text and no other slot shares more."""
    homes: dict[int, int] = {}
    for i, gain in enumerate(gains):
        own = gain[: len(held)]
        whole = (own >= held - _SHORT_END) & (own == gain.max(initial=0)) & (own > 0)
        whole[:live] = False
        whole[list(homes.values())] = False
        if whole.any():
            homes[i] = int(whole.argmax())
    return homes


def _copies(
    gains: NDArray[np.int64], homes: dict[int, int], used: NDArray[np.int64], live: int
) -> list[tuple[int, int, int]]:
    """Give all other texts homes; copies that bring there what each shares with its best source.

    A source is not overwritten before its last copy. There is always a slot that no later text needs. Free slots are
    at least as many as the texts without a home, and the later ones need at most one each.
    """
    sources = [int(gain.argmax()) if gain.max(initial=0) else -1 for gain in gains]
    waiting = [i for i in range(len(gains)) if i not in homes]
    free = [slot for slot in range(live, len(used)) if slot not in homes.values()]
    copies = []
    while waiting:
        i = waiting.pop(0)
        source, length = sources[i], int(gains[i].max(initial=0))
        needed = {sources[j] for j in waiting}
        home = min(free, key=lambda slot: (slot in needed, slot == source, used[slot]))
        free.remove(home)
        homes[i] = home
        if source not in {-1, home}:
            copies.append((source, home, length))
    return copies


def _nearest_block(homes: Sequence[int], live: int, slots: int) -> int:
    """First of as many neighbouring idle slots as there are homes, chosen so that the fewest have to move."""
    firsts = range(live, slots - len(homes) + 1)
    return max(firsts, key=lambda first: sum(first <= home < first + len(homes) for home in homes))


def _seat(homes: dict[int, int], missing: Sequence[int], seats: range) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """Swaps that bring homes outside `seats` into them, texts that miss least first; the seat of each text."""
    empty = sorted(set(seats) - set(homes.values()))
    moving = sorted((i for i, home in homes.items() if home not in seats), key=lambda i: missing[i])
    moves = dict(zip(moving, empty, strict=True))
    return [(homes[i], seat) for i, seat in moves.items()], homes | moves


def _common(a: Ids, b: Ids) -> int:
    """Length of the longest common prefix of two texts."""
    width = min(len(a), len(b))
    differs = a[:width] != b[:width]
    return int(differs.argmax()) if differs.any() else width
