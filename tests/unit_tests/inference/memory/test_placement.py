"""Placement against a simulation and a brute force on small cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_darwin.inference.memory import placement
from langchain_darwin.inference.memory.placement import place, shared_prefixes, split_wave

some = settings(max_examples=60, deadline=None)  # a busy machine is no failure
IDS = st.lists(st.integers(1, 3), min_size=1, max_size=9).map(tuple)


@pytest.fixture(autouse=True, scope="module")
def ends_of_one_token():
    """Ends as short as the texts here, of which few then stay in place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "_SHORT_END", 1)
        yield


@st.composite
def branches(draw, slots):
    """Texts that begin as a slot does and then part from it."""
    slot = draw(slots)
    return (*slot[: draw(st.integers(0, len(slot)))], *draw(IDS))


@st.composite
def memories(draw, most_slots=5):
    """Texts to place, what own and other slots hold, last uses, and how many slots are live."""
    count, live = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    spare = draw(st.integers(0, most_slots - 4))
    own = [draw(IDS | st.just(())) for _ in range(live + count + spare)]
    foreign = draw(st.lists(IDS, max_size=1))
    held = [slot for slot in (*own, *foreign) if slot] or [(1,)]
    texts = [draw(branches(st.sampled_from(held)) | IDS) for _ in range(count)]
    used = [draw(st.integers(1, 9)) if text else 0 for text in own]
    return texts, own, foreign, used, live


def common(a, b):
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def planned(texts, own, foreign, used, live, **options):
    shared = np.array([[common(text, slot) for slot in (*own, *foreign)] for text in texts])
    held = np.array([len(slot) for slot in own])
    return place([len(text) for text in texts], shared, held, np.array(used), live, **options)


def carried_out(plan, own, foreign):
    """The slots after the plan, by the meaning of its parts."""
    slots = [*own, *foreign]
    for source, target, length in plan.copies:
        assert len(slots[source]) >= length > 0
        slots[target] = slots[source][:length]
    for a, b in plan.swaps:
        slots[a], slots[b] = slots[b], slots[a]
    return slots


def written(plan):
    return {target for _, target, _ in plan.copies} | {slot for pair in plan.swaps for slot in pair} | set(plan.seats)


@some
@given(memories(), st.booleans())
def test_no_plan_writes_a_live_slot_or_one_of_another_table(memory, anywhere):
    _, own, _, _, live = memory
    assert written(planned(*memory, anywhere=anywhere)) <= set(range(live, len(own)))


@some
@given(memories(), st.booleans())
def test_each_seat_begins_its_text(memory, anywhere):
    texts, own, foreign, _, live = memory
    plan = planned(*memory, anywhere=anywhere)
    slots = carried_out(plan, own, foreign)
    for text, seat, reused in zip(texts, plan.seats, plan.reused, strict=True):
        assert slots[seat][:reused] == text[:reused]
        assert reused < len(text)
    seats = sorted(plan.seats)
    assert seats == list(range(seats[0], seats[0] + len(texts)))
    assert anywhere or seats[0] == live


@some
@given(memories(), st.booleans())
def test_as_few_tokens_are_left_to_compute_as_a_memory_without_limits_would_leave(memory, anywhere):
    texts, own, foreign, _, _ = memory
    best = [min(len(text) - 1, max(common(text, slot) for slot in (*own, *foreign))) for text in texts]
    assert list(planned(*memory, anywhere=anywhere).reused) == best


@some
@given(memories(most_slots=4).filter(lambda memory: len(memory[0]) <= 2 and memory[4] <= 1))
def test_no_sequence_of_copies_and_swaps_leaves_fewer_to_compute(memory):
    texts, own, foreign, _, live = memory
    plan = planned(*memory)
    computed = sum(len(text) - reused for text, reused in zip(texts, plan.reused, strict=True))
    assert computed == fewest_by_search(texts, own, foreign, live)


def fewest_by_search(texts, own, foreign, live):
    """Fewest tokens to compute over all states that copies and swaps of idle slots can reach."""
    seen, frontier = set(), {tuple(own)}
    while frontier:
        seen |= frontier
        frontier = {after for state in frontier for after in reachable(state, foreign, live)} - seen
    seats = range(live, live + len(texts))
    orders = list(itertools.permutations(seats))
    return min(
        sum(len(text) - min(len(text) - 1, common(text, state[seat])) for text, seat in zip(texts, order, strict=True))
        for state in seen
        for order in orders
    )


def reachable(state, foreign, live):
    for target in range(live, len(state)):
        for source in (*state, *foreign):
            yield (*state[:target], source, *state[target + 1 :])
        for other in range(target):
            if other >= live:
                after = list(state)
                after[target], after[other] = after[other], after[target]
                yield tuple(after)


@some
@given(memories())
def test_texts_that_share_nothing_take_the_slots_used_longest_ago(memory):
    texts, own, foreign, used, live = memory
    strangers = [tuple(token + 5 for token in text) for text in texts]
    plan = planned(strangers, own, foreign, used, live)
    slots = carried_out(plan, list(enumerate(own)), [])
    forgotten = [slots[seat][0] for seat in plan.seats]
    oldest = sorted(used[live:])[: len(texts)]
    assert sorted(used[slot] for slot in forgotten) == oldest


@some
@given(IDS, st.lists(IDS, max_size=4))
def test_shared_prefixes_are_those_of_what_slots_hold(text, slots):
    held = np.array([max(0, len(slot) - 1) for slot in slots], np.int64)
    tokens = np.zeros((len(slots), 12), np.int32)
    for row, slot in zip(tokens, slots, strict=True):
        row[: len(slot)] = slot
    found = shared_prefixes(np.array(text, np.int32), tokens, held)
    assert found.tolist() == [common(text, slot[:-1]) for slot in slots]


def test_texts_that_will_copy_much_from_a_sibling_wait_for_it():
    long = np.arange(1, 40, dtype=np.int32)
    texts = [long, long.copy(), np.append(long[:20], [99] * 9).astype(np.int32), long[:5].copy()]
    assert split_wave(texts, [0, 0, 0, 0]) == ([0], [1, 2, 3])
    assert split_wave(texts, [0, 38, 10, 4]) == ([0, 1, 2, 3], [])


def test_texts_that_begin_with_one_anothers_slots_exchange_them():
    own = [(1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 2, 2)]
    texts = [(2, 2, 2, 9), (1, 1, 1, 9)]
    plan = planned(texts, own, [], [1, 2], 0)
    slots = carried_out(plan, own, [])
    assert plan.reused == (3, 3)
    assert [slots[seat][:3] for seat in plan.seats] == [(2, 2, 2), (1, 1, 1)]
