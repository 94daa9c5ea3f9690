import json

from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet
from langchain_darwin.evaluation.records import Answer, ComparisonPlan, Cost, Record, Records
from langchain_darwin.evaluation.reporting.answer_files import write_answers

ALPACA = PromptSet("alpaca_eval", (Prompt("1", ("Say hi",), {}), Prompt("2", ("Say ho",), {})))
TALKS = PromptSet("mt_bench", (Prompt("81", ("Begin", "Go on"), {"question_id": 81}),))


def records(prompts, seeds, texts):
    plan = ComparisonPlan(
        {"ours": "abcdefgh", "best of 3": "12345678"}, tuple(one.key for one in prompts.prompts), seeds
    )
    done = {}
    for (prompt, seed), said in texts.items():
        answers = tuple(Answer(text, 1, 0.0, 0.0, "stop") for text in said)
        record = Record(prompt, "abcdefgh", "ours", {}, seed, answers, Cost())
        done[record.key] = record
    return Records({}, plan, done)


def test_alpaca_eval_has_a_file_a_search(tmp_path):
    found = records(ALPACA, (0,), {("1", 0): ["hi"], ("2", 0): ["ho"]})
    (path,) = write_answers(ALPACA, found, tmp_path)
    assert path == tmp_path / "alpaca_eval" / "ours.json"
    assert json.loads(path.read_text()) == [
        {"instruction": "Say hi", "output": "hi", "generator": "ours"},
        {"instruction": "Say ho", "output": "ho", "generator": "ours"},
    ]


def test_and_one_a_seed_if_there_are_several(tmp_path):
    found = records(ALPACA, (0, 7), {("1", 0): ["hi"], ("1", 7): ["hello"]})
    first, second = write_answers(ALPACA, found, tmp_path)
    assert (first.name, second.name) == ("ours-seed0.json", "ours-seed7.json")
    assert json.loads(second.read_text()) == [{"instruction": "Say hi", "output": "hello", "generator": "ours"}]


def test_mt_bench_has_a_choice_a_seed(tmp_path):
    found = records(TALKS, (0, 1), {("81", 0): ["one", "two"], ("81", 1): ["uno", "due"]})
    (path,) = write_answers(TALKS, found, tmp_path)
    assert path == tmp_path / "mt_bench" / "ours.jsonl"
    choices = json.loads(path.read_text())["choices"]
    assert choices == [{"index": 0, "turns": ["one", "two"]}, {"index": 1, "turns": ["uno", "due"]}]


def test_labels_that_are_no_file_names(tmp_path):
    found = records(ALPACA, (0,), {("1", 0): ["hi"]})
    plan = ComparisonPlan({"mine/best of 3": "abcdefgh"}, ("1",), (0,))
    (path,) = write_answers(ALPACA, Records({}, plan, found.done), tmp_path)
    assert path.name == "mine_best_of_3-abcdef.json"


def test_other_prompts_have_no_files(tmp_path):
    own = PromptSet("lines.txt", ALPACA.prompts)
    assert write_answers(own, records(own, (0,), {("1", 0): ["hi"]}), tmp_path) == []
