from langchain_darwin.evaluation.records import Answer, Cost, Record
from langchain_darwin.evaluation.statistics.intervals import Interval
from langchain_darwin.evaluation.statistics.paired import Paired, pair


def run(prompt, reward, gold, decoded, seed=0):
    return Record(prompt, "s", "s", {}, seed, (Answer("text", 5, reward, gold, "stop"),), Cost(decoded=decoded))


def test_differences_are_of_the_same_prompt_and_seed():
    ours = [run("a", 3.0, 1.0, 40), run("a", 5.0, 1.0, 20, seed=1), run("b", 1.0, 0.0, 30), run("c", 9.0, 9.0, 90)]
    others = [run("b", 1.0, 2.0, 30), run("a", 1.0, 1.0, 20, seed=1), run("a", 1.0, 1.0, 10)]
    assert pair(ours, others) == Paired(2, 1.5, Interval(1.5, 0.0, 3.0), Interval(-1.0, -2.0, 0.0))


def test_nothing_in_common_is_no_difference():
    assert pair([run("a", 3.0, 1.0, 40)], [run("b", 3.0, 1.0, 40)]) is None
    assert pair([run("a", 3.0, 1.0, 40)], []) is None
