"""The memory of tokens that were drawn in advance."""

from dataclasses import replace

from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.vllm.prefetched import PrefetchedTokens

JOB = Job((1, 2), 2, Sampling(), key=5)
REST = ((8, -0.5), (9, -1.0))


def test_a_rest_is_found_by_its_text_and_all_that_draws_depend_on():
    prefetched = PrefetchedTokens()
    prefetched.keep(JOB, (1, 2, 3), REST)
    assert prefetched.get(replace(JOB, prefix=(1, 2, 3), tokens=7, deadline=1.0), (1, 2, 3)) == REST
    others = [
        (JOB, (1, 2)),
        (JOB, (1, 2, 4)),
        (replace(JOB, key=6), (1, 2, 3)),
        (replace(JOB, start=1), (1, 2, 3)),
        (replace(JOB, sampling=Sampling(temperature=0.8)), (1, 2, 3)),
    ]
    assert [prefetched.get(*other) for other in others] == [()] * 5


def test_a_rest_serves_more_than_once():
    prefetched = PrefetchedTokens()
    prefetched.keep(JOB, (1, 2, 3), REST)
    assert [prefetched.get(JOB, (1, 2, 3)) for _ in range(2)] == [REST, REST]


def test_the_latest_are_kept():
    prefetched = PrefetchedTokens(kept=2)
    for last in (3, 4):
        prefetched.keep(JOB, (1, 2, last), REST)
    prefetched.get(JOB, (1, 2, 3))
    prefetched.keep(JOB, (1, 2, 5), REST)
    assert [bool(prefetched.get(JOB, (1, 2, last))) for last in (3, 4, 5)] == [True, False, True]
    assert len(prefetched) == 2


def test_nothing_is_not_kept():
    prefetched = PrefetchedTokens()
    prefetched.keep(JOB, (1, 2), ())
    assert len(prefetched) == 0
