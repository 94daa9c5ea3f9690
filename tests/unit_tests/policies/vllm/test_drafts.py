"""The memory of tokens that were drawn in advance."""

from dataclasses import replace

from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.vllm.drafts import Drafts

JOB = Job((1, 2), 2, Sampling(), key=5)
REST = ((8, -0.5), (9, -1.0))


def test_a_rest_is_found_by_its_text_and_all_that_draws_depend_on():
    drafts = Drafts()
    drafts.keep(JOB, (1, 2, 3), REST)
    assert drafts.get(replace(JOB, prefix=(1, 2, 3), tokens=7, deadline=1.0), (1, 2, 3)) == REST
    others = [
        (JOB, (1, 2)),
        (JOB, (1, 2, 4)),
        (replace(JOB, key=6), (1, 2, 3)),
        (replace(JOB, start=1), (1, 2, 3)),
        (replace(JOB, sampling=Sampling(temperature=0.8)), (1, 2, 3)),
    ]
    assert [drafts.get(*other) for other in others] == [()] * 5


def test_a_rest_serves_more_than_once():
    drafts = Drafts()
    drafts.keep(JOB, (1, 2, 3), REST)
    assert [drafts.get(JOB, (1, 2, 3)) for _ in range(2)] == [REST, REST]


def test_the_latest_are_kept():
    drafts = Drafts(kept=2)
    for last in (3, 4):
        drafts.keep(JOB, (1, 2, last), REST)
    drafts.get(JOB, (1, 2, 3))
    drafts.keep(JOB, (1, 2, 5), REST)
    assert [bool(drafts.get(JOB, (1, 2, last))) for last in (3, 4, 5)] == [True, False, True]
    assert len(drafts) == 2


def test_nothing_is_not_kept():
    drafts = Drafts()
    drafts.keep(JOB, (1, 2), ())
    assert len(drafts) == 0
