import asyncio
import json
import re

import pytest

from langchain_darwin.chat_models import ChatDarwin
from langchain_darwin.errors import ConfigurationError, DarwinError, ModelNotFound
from langchain_darwin.evaluation.comparison import Comparison, acompare, compare
from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet
from langchain_darwin.evaluation.records import POOL, read_records
from langchain_darwin.evaluation.statistics.order_statistics import Pool
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.majority_vote import MajorityVote
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

SEARCHES = {"best of 3": BestOfN(n=3), "ours": Darwin(beams=3, keep=2, period=6, mutation="none")}
PROMPTS = PromptSet("lines", tuple(Prompt(str(i), (f"Write line {i}",), {}) for i in range(4)))


def variety(messages, responses):
    return [len(set(response.text.split())) / 10 for response in responses]


def comparison(**changes):
    chat = ChatDarwin(model=ScriptedPolicy(length=12), reward=keyword_reward("sea"), max_tokens=24)
    return Comparison(**{"model": chat, "prompts": PROMPTS, "searches": SEARCHES, "gold": variety, "pool": 4} | changes)


def facts(report):
    """The report as text, without what the clock says."""
    found = report.facts()
    for row in found["rows"]:
        row["equal_seconds"] = None
    return re.sub(r'("\w*seconds"): [\d.]+', r"\1: 0", json.dumps(found))


def test_every_search_is_run_on_every_prompt_with_every_seed(tmp_path):
    seen = []
    report = compare(
        comparison(seeds=(0, 1)), tmp_path, at_once=1, watch=lambda line, *n: seen.append((line.label, *n))
    )
    assert (report.runs, report.done, report.prompts, report.seeds) == (24, 24, 4, (0, 1))
    assert [row.label for row in report.rows] == ["best of 3", "ours"]
    assert [row.runs for row in report.rows] == [8, 8]
    assert seen[:3] == [("pool", 1, 24), ("best of 3", 2, 24), ("ours", 3, 24)]
    assert report.failures == ()


def test_records_hold_what_the_report_needs(tmp_path):
    compare(comparison(limit=1), tmp_path)
    pool, plain, ours = read_records(tmp_path).done.values()
    assert pool.key == ("0", POOL, 0)
    ((first, *others),) = pool.pools
    assert first == pool.answers[0]
    assert [answer.reward for answer in (first, *others)] == sorted(Pool.of(pool).rewards[0], reverse=True)
    assert sum(answer.tokens for answer in (first, *others)) == pool.cost.decoded
    assert first.gold == variety([], [type("Response", (), {"text": first.text})])[0]
    assert (plain.cost.judged, plain.cost.judgings, plain.cost.judged_tokens) == (3, 1, plain.cost.decoded)
    assert ours.cost.judgings > 1
    assert ours.cost.judged_tokens > ours.cost.judged
    assert ours.configuration["period"] == 6


def test_searches_share_their_random_numbers(tmp_path):
    compare(comparison(), tmp_path)
    done = read_records(tmp_path).done
    for record in done.values():
        if record.label == "best of 3":
            pool = done[record.prompt, POOL, 0]
            assert record.answers[0].text in {answer.text for answer in pool.pools[0]}


@pytest.mark.parametrize("cut", [5, 700, 3000])
def test_a_killed_comparison_goes_on_with_the_same_numbers(tmp_path, cut):
    whole = compare(comparison(seeds=(0, 1)), tmp_path / "whole", at_once=1)
    content = (tmp_path / "whole" / "records.jsonl").read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "records.jsonl").write_bytes(content[: len(content) - cut])
    ran = []
    report = compare(comparison(seeds=(0, 1)), tmp_path / "cut", at_once=3, watch=lambda line, *_: ran.append(line.key))
    assert 0 < len(ran) < 24
    assert len(read_records(tmp_path / "cut").done) == 24
    assert facts(report) == facts(whole).replace('"at_once": 1', f'"at_once": {report.at_once}')


def test_a_finished_comparison_runs_nothing(tmp_path):
    first = compare(comparison(), tmp_path)
    before = (tmp_path / "records.jsonl").read_bytes()
    assert compare(comparison(), tmp_path) == first
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_searches_prompts_and_seeds_may_be_added(tmp_path):
    compare(comparison(searches={"best of 3": BestOfN(n=3)}, limit=2), tmp_path)
    ran = []
    report = compare(comparison(seeds=(0, 1)), tmp_path, watch=lambda line, *_: ran.append(line.key))
    assert (report.runs, report.done, len(ran)) == (24, 24, 20)
    assert facts(report) == facts(compare(comparison(seeds=(0, 1)), tmp_path / "anew"))


def test_a_label_can_be_changed(tmp_path):
    compare(comparison(), tmp_path)
    renamed = {f"the {label}": search for label, search in SEARCHES.items()}
    report = compare(comparison(searches=renamed), tmp_path, watch=lambda *_: pytest.fail("ran again"))
    assert [row.label for row in report.rows] == ["the best of 3", "the ours"]


def test_other_settings_need_another_folder(tmp_path):
    compare(comparison(limit=1), tmp_path)
    with pytest.raises(ConfigurationError, match="pool was 4, now 5"):
        compare(comparison(limit=1, pool=5), tmp_path)
    chat = ChatDarwin(model=ScriptedPolicy(length=12), reward=keyword_reward("sea"), max_tokens=24, temperature=1)
    with pytest.raises(ConfigurationError, match=r"temperature was 0.7, now 1"):
        compare(comparison(limit=1, model=chat), tmp_path)


class Moody:
    """Judges variety, but refuses one prompt while it is in a bad mood."""

    def __init__(self):
        self.bad = True

    def __call__(self, messages, responses):
        if self.bad and messages[0].text.endswith("2"):
            raise ValueError("not this one")
        return variety(messages, responses)

    def identity(self):
        return {"reward": "moody"}


def test_an_error_is_recorded_and_retried(tmp_path):
    gold = Moody()
    report = compare(comparison(gold=gold), tmp_path)
    assert (report.done, len(report.failures)) == (9, 3)
    assert {(one.prompt, one.label) for one in report.failures} == {("2", "pool"), ("2", "best of 3"), ("2", "ours")}
    assert all("not this one" in one.error for one in report.failures)
    assert [row.prompts for row in report.rows] == [3, 3]
    gold.bad = False
    ran = []
    report = compare(comparison(gold=gold), tmp_path, watch=lambda line, *_: ran.append(line.prompt))
    assert (report.done, report.failures, ran) == (12, (), ["2"] * 3)


def test_too_many_errors_in_a_row_stop_it_once(tmp_path):
    def broken(messages, responses):
        raise ValueError("the endpoint is down")

    many = PromptSet("lines", tuple(Prompt(str(i), (f"Write line {i}",), {}) for i in range(6)))
    with pytest.raises(DarwinError, match=r"5 prompts in a row failed, the last with RewardError: .*; repair that"):
        compare(comparison(gold=broken, prompts=many), tmp_path, at_once=1)
    assert len(read_records(tmp_path).failed) == 13
    report = compare(comparison(gold=broken, prompts=many), tmp_path, at_once=1)
    assert (report.done, report.rows, len(report.failures)) == (0, (), 18)


def test_what_fails_for_all_is_raised_at_once(tmp_path):
    def respond(conversation, tools):
        raise ModelNotFound("no such model")

    chat = ChatDarwin(model=ScriptedPolicy(respond), reward=keyword_reward("sea"))
    with pytest.raises(ModelNotFound, match="no such model"):
        compare(comparison(model=chat), tmp_path)


def test_the_second_turn_follows_the_search_s_own_first_answer(tmp_path):
    heard = []

    def gold(messages, responses):
        heard.append([message.text for message in messages])
        return [float(len(messages))] * len(responses)

    prompts = PromptSet("talks", (Prompt("a", ("Begin", "Go on"), {}),))
    compare(comparison(prompts=prompts, gold=gold), tmp_path, at_once=1)
    pool, plain, _ = read_records(tmp_path).done.values()
    assert (pool.gold, len(pool.pools), len(pool.answers)) == (2.0, 2, 2)
    assert heard[:4] == [
        ["Begin"],
        ["Begin", pool.answers[0].text, "Go on"],
        ["Begin"],
        ["Begin", plain.answers[0].text, "Go on"],
    ]


def test_answers_that_a_search_left_unjudged_are_judged(tmp_path):
    report = compare(comparison(searches={"vote": MajorityVote(n=3)}), tmp_path)
    assert report.rows[0].cost["judged"] < 3
    assert report.rows[0].reward.mean > 0


def test_it_can_be_awaited(tmp_path):
    report = asyncio.run(acompare(comparison(), tmp_path / "awaited"))
    assert facts(report) == facts(compare(comparison(), tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold": keyword_reward("sea")}, "is the guiding reward itself, and would say nothing new"),
        ({"searches": {}}, "searches is empty"),
        ({"searches": {"ours": Darwin}}, r"searches\['ours'\]=.* is not a search"),
        ({"searches": {"a": Darwin(), "b": Darwin()}}, "searches 'a' and 'b' are the same"),
        ({"seeds": ()}, "seeds=.* must be at least one number"),
        ({"seeds": (1, 1)}, "none of them twice"),
        ({"pool": 1}, "pool=1 must be at least 2"),
        ({"limit": 0}, "limit=0 must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        comparison(**changes)
