import json

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.datasets.mt_bench import write_model_answers
from langchain_darwin.evaluation.datasets.prompts import Prompt


def question(number, turns=("Write a post.", "Shorten it.")):
    return Prompt(str(number), tuple(turns), {"question_id": number, "turns": list(turns)})


def read(path):
    """As FastChat's `load_model_answers` reads a file."""
    return {answer["question_id"]: answer for answer in map(json.loads, path.read_text().splitlines())}


def test_answers_have_the_fields_of_fastchat_and_its_order(tmp_path):
    answers = [(question(82), [["c", "d"]]), (question(81), [["a ä", "b"], ["e", "f"]])]
    path = write_model_answers(tmp_path / "model_answer", "smollm2-darwin", answers, tstamp=1.5)
    assert path == tmp_path / "model_answer" / "smollm2-darwin.jsonl"
    found = read(path)
    assert list(found) == [81, 82]
    ids = [answer.pop("answer_id") for answer in found.values()]
    assert found == {
        81: {
            "question_id": 81,
            "model_id": "smollm2-darwin",
            "choices": [{"index": 0, "turns": ["a ä", "b"]}, {"index": 1, "turns": ["e", "f"]}],
            "tstamp": 1.5,
        },
        82: {
            "question_id": 82,
            "model_id": "smollm2-darwin",
            "choices": [{"index": 0, "turns": ["c", "d"]}],
            "tstamp": 1.5,
        },
    }
    assert len(set(ids)) == 2


def test_the_same_answers_make_the_same_file(tmp_path):
    answers = [(question(81), [["a", "b"]])]
    one = write_model_answers(tmp_path / "1", "m", answers, tstamp=1.5).read_text()
    assert write_model_answers(tmp_path / "2", "m", answers, tstamp=1.5).read_text() == one


def test_a_missing_turn_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="prompt '81' has 2 turns and 1 answers; give one answer a turn"):
        write_model_answers(tmp_path, "m", [(question(81), [["a"]])])


def test_a_question_without_answers_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="prompt '81' has no answer; give at least one choice"):
        write_model_answers(tmp_path, "m", [(question(81), [])])


def test_a_prompt_of_another_set_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="prompt '1': question_id=None must be MT-Bench's number"):
        write_model_answers(tmp_path, "m", [(Prompt("1", ("Why?",), {"prompt": "Why?"}), [["a"]])])


@pytest.mark.parametrize("name", ["", "org/model", "a\\b"])
def test_the_model_names_the_file(tmp_path, name):
    with pytest.raises(ConfigurationError, match="must be usable as the name of a file; leave out slashes"):
        write_model_answers(tmp_path, name, [])
