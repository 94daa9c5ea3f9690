import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.records import POOL, Answer, ComparisonPlan, Cost, Failure, Record, Records
from langchain_darwin.evaluation.reporting.report import Difference, Point, make_report
from langchain_darwin.evaluation.statistics.intervals import Interval
from langchain_darwin.evaluation.statistics.paired import Paired

HEADER = {"settings": {"pool": 2}, "names": {"prompts": "lines", "reward": "keywords", "gold": "variety"}}


def answer(reward, gold, tokens):
    return Answer("text", tokens, reward, gold, "stop")


def pool(prompt, *answers, seconds=0.0):
    best = max(answers, key=lambda one: one.reward)
    cost = Cost(decoded=sum(one.tokens for one in answers), seconds=seconds)
    configuration = {"search": "BestOfN", "n": 2, "batch": None}
    return Record(prompt, POOL, POOL, configuration, 0, (best,), cost, pools=(answers,))


def run(prompt, reward, gold, decoded, seed=0, seconds=0.0, at_once=1):
    cost = Cost(decoded=decoded, judged=3, seconds=seconds)
    return Record(prompt, "ours", "ours", {"search": "Darwin"}, seed, (answer(reward, gold, 7),), cost, at_once)


def report(*lines, searches=("ours",), prompts=("a", "b"), seeds=(0,), failed=()):
    plan = ComparisonPlan({search: search for search in searches}, prompts, seeds)
    done = {line.key: line for line in lines}
    return make_report(Records(HEADER, plan, done, {failure.key: failure for failure in failed}))


POOLS = (
    pool("a", answer(0.0, 1.0, 10), answer(1.0, 0.0, 30)),
    pool("b", answer(4.0, 2.0, 5), answer(2.0, 1.0, 5)),
)


def test_means_costs_and_differences_at_equal_tokens():
    found = report(*POOLS, run("a", 2.0, 1.0, 30), run("b", 3.0, 1.0, 10))
    (row,) = found.rows
    assert (row.label, row.prompts, row.runs) == ("ours", 2, 2)
    assert row.reward == Interval(2.5, 2.0, 3.0)
    assert row.gold == Interval(1.0, 1.0, 1.0)
    assert (row.cost["decoded"], row.cost["judged"], row.cost["answer_tokens"]) == (20, 3, 7)
    # a: 30 tokens are 1.5 samples of 20 tokens; 0.75 of reward and 0.25 of gold. b: 10 tokens are both samples.
    assert row.equal_tokens == Difference(
        n=1.75, reward=Interval(0.125, -1.0, 1.25), gold=Interval(-0.125, -1.0, 0.75), above=0.0, below=0.0
    )


def test_costs_that_no_n_has_are_counted():
    found = report(*POOLS, run("a", 2.0, 1.0, 41), run("b", 3.0, 1.0, 4))
    reference = found.rows[0].equal_tokens
    assert (reference.n, reference.above, reference.below) == (1.5, 0.5, 0.5)
    assert reference.reward == Interval(0.5, 0.0, 1.0)


def test_the_curve_is_best_of_n_made_of_the_pool():
    assert report(*POOLS).curve == (
        Point(1, 12.5, Interval(1.75, 0.5, 3.0), Interval(1.0, 0.5, 1.5)),
        Point(2, 25.0, Interval(2.5, 1.0, 4.0), Interval(1.0, 0.0, 2.0)),
    )


def test_seeds_are_averaged_within_a_prompt():
    (row,) = report(
        *POOLS,
        Record("a", POOL, POOL, POOLS[0].configuration, 1, POOLS[0].answers, POOLS[0].cost, 1, POOLS[0].pools),
        run("a", 1.0, 0.0, 20),
        run("a", 3.0, 0.0, 20, seed=1),
        run("b", 6.0, 0.0, 5),
        seeds=(0, 1),
    ).rows
    assert (row.prompts, row.runs, row.reward) == (2, 3, Interval(4.0, 2.0, 6.0))


def test_a_run_without_its_pool_is_left_out():
    found = report(POOLS[0], run("a", 2.0, 1.0, 30), run("b", 3.0, 1.0, 10))
    assert (found.rows[0].prompts, found.done, found.runs) == (1, 3, 4)


def test_seconds_are_compared_by_timed_runs_of_best_of_n():
    timed = pool("a", *POOLS[0].pools[0], seconds=3.0)
    alone = {"search": "BestOfN", "n": 1, "batch": None}
    plain = Record("a", "plain", "plain", alone, 0, (answer(0.0, 0.0, 20),), Cost(decoded=20, seconds=1.0))
    ours = run("a", 2.0, 1.0, 30, seconds=2.0)
    found = report(timed, plain, ours, searches=("plain", "ours"), prompts=("a",))
    assert found.rows[1].equal_seconds == Difference(
        n=1.5, reward=Interval(1.25, 1.25, 1.25), gold=Interval(0.75, 0.75, 0.75), above=0.0, below=0.0
    )


def test_seconds_are_not_compared_without_a_second_n_or_in_company():
    assert report(*POOLS, run("a", 2.0, 1.0, 30)).rows[0].equal_seconds is None
    shared = report(*POOLS, run("a", 2.0, 1.0, 30, at_once=2))
    assert (shared.rows[0].equal_seconds, shared.at_once) == (None, 2)


def test_searches_are_held_against_the_first_that_has_runs():
    other = Record("a", "other", "other", {"search": "ARGS"}, 0, (answer(0.5, 3.0, 7),), Cost(decoded=15))
    rows = report(*POOLS, run("a", 2.0, 1.0, 30), other, searches=("missing", "ours", "other")).rows
    assert [row.to_first for row in rows] == [None, Paired(1, 0.5, Interval(-1.5, -1.5, -1.5), Interval(2.0, 2.0, 2.0))]


def test_failures_of_what_is_asked_for_are_told():
    failures = Failure("b", "ours", "ours", 0, "no"), Failure("z", "ours", "ours", 0, "no longer asked for")
    found = report(*POOLS, run("a", 2.0, 1.0, 30), failed=failures)
    assert (found.done, found.runs, found.failures) == (3, 4, failures[:1])


def test_records_without_a_plan_are_refused():
    with pytest.raises(ConfigurationError, match="the records hold no plan"):
        make_report(Records(HEADER))
