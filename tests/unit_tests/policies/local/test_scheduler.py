"""The scheduler alone: nothing is lost, nothing starves, begun before new, limits hold."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_darwin.policies.local.scheduler import Scheduler


@dataclass(eq=False)
class Asked:
    """A request for `steps` tokens after `tokens`."""

    tokens: tuple[int, ...]
    begun: bool = False
    read: int = 0
    steps: int = 1
    name: int = 0


requests = st.builds(
    Asked,
    tokens=st.integers(1, 60).map(lambda length: tuple(range(length)))
    | st.lists(st.integers(0, 2), min_size=1).map(tuple),
    begun=st.booleans(),
    steps=st.integers(1, 5),
    name=st.integers(),
)


def lists(largest=12):
    return st.lists(requests, max_size=largest)


def scheduler_of(waiting, portion=16):
    scheduler = Scheduler(portion)
    scheduler.add(waiting, 0)
    return scheduler


@given(lists(), st.integers(0, 15), st.integers(0, 5))
def test_what_is_admitted_is_the_beginning_of_what_waits(waiting, free, live):
    scheduler = scheduler_of(waiting)
    order = scheduler.waiting
    admission = scheduler.admit(free, live)
    assert (*admission.whole, *scheduler.waiting) == order
    assert len(admission.whole) <= free


@given(lists())
def test_begun_go_before_new_and_both_keep_their_order(waiting):
    order = scheduler_of(waiting).waiting
    assert list(order) == [r for r in waiting if r.begun] + [r for r in waiting if not r.begun]


@given(lists(), st.integers(1, 15))
def test_all_that_rows_are_free_for_is_admitted_where_nothing_stands_still(waiting, free):
    assert len(scheduler_of(waiting).admit(free, 0).whole) == min(free, len(waiting))


@given(lists(), st.integers(1, 15), st.integers(1, 5), st.integers(1, 40))
def test_beside_live_texts_new_prompts_are_read_in_portions(waiting, free, live, portion):
    scheduler = scheduler_of(waiting, portion)
    admission = scheduler.admit(free, live)
    new = [request for request in admission.whole if not request.begun]
    alone = [len(request.tokens) for request in new]
    shared = [
        common(one.tokens, other.tokens)
        for one, other in zip(admission.whole, admission.whole[1:], strict=False)
        if not other.begun
    ]
    spent = sum(alone) - sum(shared)
    assert spent <= portion
    if admission.ahead is not None:
        assert admission.ahead is scheduler.waiting[0]
        assert 0 < admission.upto - admission.ahead.read <= portion - spent
        assert admission.upto < len(admission.ahead.tokens)


@given(lists(), st.integers(1, 6), st.integers(0, 4))
def test_memory_that_ran_out_loses_nothing_and_leaves_fewer_rows(waiting, free, live):
    scheduler = scheduler_of(waiting)
    order = scheduler.waiting
    together = scheduler.admit(free, live).whole
    if not together:
        return
    assert scheduler.put_back(together, live)
    assert scheduler.waiting == order
    assert scheduler.limit == max(1, live or len(together) // 2)
    assert len(scheduler.admit(free, live).whole) <= max(0, scheduler.limit - live)


def test_a_request_that_is_too_large_alone_is_given_up_at_the_second_time():
    scheduler, request = scheduler_of([]), Asked((1, 2))
    assert scheduler.put_back([request], 0)
    assert scheduler.admit(9, 0).whole == [request]
    assert not scheduler.put_back([request], 0)
    assert scheduler.waiting == ()


def test_the_limit_is_raised_while_memory_suffices_and_lifted_at_rest():
    scheduler = scheduler_of([])
    scheduler.put_back([Asked((1,)) for _ in range(8)], 0)
    assert scheduler.limit == 4
    for _ in range(2 * 256):
        scheduler.stepped()
    assert scheduler.limit == 6
    scheduler.admit(9, 0)
    scheduler.admit(9, 0)
    scheduler.add([Asked((1,)) for _ in range(20)], 0)
    assert len(scheduler.admit(64, 0).whole) == 20


def test_what_nobody_waits_for_is_forgotten():
    keep, drop = Asked((1,)), Asked((1,))
    scheduler = scheduler_of([drop, keep])
    scheduler.drop(lambda request: request is drop)
    assert scheduler.waiting == (keep,)


@dataclass(frozen=True)
class Searching:
    """A search: when it comes, its rounds, and the length of its prompt."""

    at: int
    rounds: int
    length: int


searches = st.lists(
    st.builds(Searching, st.integers(0, 30), st.integers(1, 4), st.integers(1, 70)), min_size=1, max_size=8
)


@settings(max_examples=100, deadline=None)
@given(searches, st.integers(1, 3), st.sets(st.integers(0, 40)))
def test_every_search_ends_whatever_comes_and_however_often_memory_runs_out(searches, rows, shortages):
    """A round is a request that has begun; it comes as soon as the one before it is answered."""
    scheduler, live, left = Scheduler(16), [], [search.rounds for search in searches]
    for clock in range(400):
        coming = [Asked(tuple(range(s.length)), name=i) for i, s in enumerate(searches) if s.at == clock]
        scheduler.add(coming, len(live))
        live += admitted(scheduler, rows, live, short=clock in shortages)
        assert len(live) <= rows
        for request in live:
            request.steps -= 1
        done, live = [r for r in live if not r.steps], [r for r in live if r.steps]
        for request in done:
            left[request.name] -= 1
        again = [Asked(r.tokens, begun=True, steps=2, name=r.name) for r in done if left[r.name]]
        scheduler.add(again, len(live))
    assert left == [0] * len(searches)


def admitted(scheduler, rows, live, *, short):
    """What becomes live now; if memory is short, all of it waits again, or is asked for once more."""
    admission = scheduler.admit(rows - len(live), len(live))
    if admission.ahead is not None:
        admission.ahead.read = admission.upto
    if not short or not admission.whole:
        return list(admission.whole)
    if not scheduler.put_back(admission.whole, len(live)):
        scheduler.add(admission.whole, len(live))
    return []


def common(one, other):
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
