import json
import sys

import pytest

from langchain_darwin.errors import ConfigurationError, MissingDependencyError
from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet, digest_of, load_prompts

IFEVAL = {
    "key": 7,
    "prompt": "Write a haiku without commas.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"num_words": 20, "relation": "less than"}],
}
MT_BENCH = {"question_id": 81, "category": "writing", "turns": ["Write a post.", "Shorten it."]}
ALPACA = {"instruction": "Where is Indonesia?", "dataset": "helpful_base"}


@pytest.fixture
def lines(tmp_path):
    """Writes records, or lines as they are, to a file and returns its path as text."""

    def write(*records, name="set.jsonl"):
        path = tmp_path / name
        path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in records))
        return str(path)

    return write


def test_ifeval_is_known_by_its_fields(lines):
    found = load_prompts(lines(IFEVAL))
    assert found == PromptSet("ifeval", (Prompt("7", ("Write a haiku without commas.",), IFEVAL),))


def test_mt_bench_is_known_by_its_fields(lines):
    found = load_prompts(lines(MT_BENCH))
    assert found == PromptSet("mt_bench", (Prompt("81", ("Write a post.", "Shorten it."), MT_BENCH),))


def test_alpaca_eval_is_known_by_its_fields_and_keyed_by_line(lines):
    found = load_prompts(lines(ALPACA, "", {**ALPACA, "instruction": "And Chile?"}))
    assert found.name == "alpaca_eval"
    assert [(prompt.key, prompt.turns) for prompt in found] == [("1", ("Where is Indonesia?",)), ("3", ("And Chile?",))]


def test_a_list_in_a_json_file_is_read_as_well(lines):
    assert load_prompts(lines([ALPACA], name="set.json")) == load_prompts(lines(ALPACA))


def test_a_named_set_must_have_its_fields(lines):
    path = lines(ALPACA)
    with pytest.raises(ConfigurationError) as error:
        load_prompts(f"mt_bench={path}")
    assert str(error.value) == f"{path}, line 1: it lacks question_id, turns, which every record of mt_bench has"


@pytest.mark.parametrize("field", ["prompt", "instruction", "question"])
def test_other_records_need_one_text_and_may_have_a_key(lines, field):
    found = load_prompts(lines({field: "Why?", "id": "a"}, {field: "How?"}, name="mine.jsonl"))
    assert found.name == "mine.jsonl"
    assert [(prompt.key, prompt.turns) for prompt in found] == [("a", ("Why?",)), ("2", ("How?",))]


def test_a_text_file_has_one_prompt_a_line(lines):
    found = load_prompts(lines("Why is the sky blue?", "", "  [A question]  ", name="mine.txt"))
    assert found == PromptSet(
        "mine.txt",
        (
            Prompt("1", ("Why is the sky blue?",), {"prompt": "Why is the sky blue?"}),
            Prompt("3", ("[A question]",), {"prompt": "[A question]"}),
        ),
    )


def test_arguments_that_are_null_are_left_out_of_ifeval(lines):
    padded = {**IFEVAL, "kwargs": [{"num_words": None}, {"num_words": 20, "relation": "less than", "letter": None}]}
    assert load_prompts(lines(padded)) == load_prompts(lines(IFEVAL))


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ('{"prompt": ', "no JSON: Expecting value: line 1 column 12 (char 11); write one object a line"),
        ("[1]", "[1] must be an object with a prompt"),
        ({"text": "Why?"}, "it lacks a prompt; name it `prompt`, `instruction` or `question`"),
        ({"prompt": " "}, "prompt=' ' must be a text"),
        ({"prompt": ["Why?"]}, "prompt=['Why?'] must be a text"),
    ],
)
def test_a_bad_line_is_named(lines, record, complaint):
    path = lines({"prompt": "Why?"}, record)
    with pytest.raises(ConfigurationError) as error:
        load_prompts(path)
    assert str(error.value) == f"{path}, line 2: {complaint}"


def test_turns_must_be_texts(lines):
    with pytest.raises(ConfigurationError, match=r"line 1: turns=\[\] must be a list of texts, at least one"):
        load_prompts(lines({**MT_BENCH, "turns": []}))


def test_each_instruction_needs_its_arguments(lines):
    with pytest.raises(ConfigurationError, match="line 1: instruction_id_list and kwargs must be lists of one length"):
        load_prompts(lines({**IFEVAL, "kwargs": [{}]}))


def test_json_lines_are_not_taken_for_text(lines):
    with pytest.raises(ConfigurationError, match=r"mine\.txt begins like JSON lines; name it \.jsonl"):
        load_prompts(lines({"prompt": "Why?"}, name="mine.txt"))


def test_a_json_file_holds_a_list(lines):
    with pytest.raises(ConfigurationError, match=r"mine\.json holds one dict; it must be a list of objects"):
        load_prompts(lines(ALPACA, name="mine.json"))


def test_a_file_that_is_not_there_is_told_with_the_known_names():
    with pytest.raises(ConfigurationError) as error:
        load_prompts("nowhere.jsonl")
    assert str(error.value) == (
        "prompts 'nowhere.jsonl': no such file; give a file, NAME=FILE, or one of alpaca_eval, mt_bench, ifeval"
    )


def test_an_empty_file_is_refused(lines):
    with pytest.raises(ConfigurationError, match=r"set\.jsonl holds no prompts; give at least one"):
        load_prompts(lines())


def test_keys_must_be_distinct(lines):
    with pytest.raises(ConfigurationError, match="ifeval: the key '7' occurs twice; give each prompt its own"):
        load_prompts(lines(IFEVAL, IFEVAL))


def test_the_digest_tells_prompts_apart_and_not_files(lines):
    one = load_prompts(lines(IFEVAL, name="one.jsonl"))
    same = load_prompts("ifeval=" + lines(IFEVAL, name="two.jsonl"))
    assert one.digest == same.digest == digest_of([Prompt("7", (IFEVAL["prompt"],), IFEVAL)])
    others = ({**IFEVAL, "key": 8}, {**IFEVAL, "prompt": "Write."}, {**IFEVAL, "kwargs": [{}, {"num_words": 21}]})
    assert one.digest not in {load_prompts(lines(other)).digest for other in others}


def test_a_set_is_a_sequence_of_its_prompts(lines):
    found = load_prompts(lines(MT_BENCH, {**MT_BENCH, "question_id": 82}))
    assert len(found) == 2
    assert tuple(found) == found.prompts


def test_without_datasets_a_name_says_where_the_file_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError) as error:
        load_prompts("ifeval")
    assert str(error.value) == (
        "prompts 'ifeval' need `datasets` (pip install datasets); or give its file, ifeval=FILE; it is to be had from "
        "https://huggingface.co/datasets/google/IFEval (ifeval_input_data.jsonl)"
    )


class Hub:
    """Stands for the package `datasets`."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def load_dataset(self, **arguments):
        self.asked.append(arguments)
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def test_a_name_is_loaded_from_the_hub(monkeypatch, lines):
    hub = Hub([IFEVAL])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert load_prompts("ifeval") == load_prompts(lines(IFEVAL))
    assert hub.asked == [{"path": "google/IFEval", "split": "train"}]


def test_a_hub_that_does_not_answer_is_told_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", Hub(ConnectionError("no route")))
    with pytest.raises(
        ConfigurationError, match=r"could not be loaded from the hub: no route; give its file, mt_bench=FILE"
    ):
        load_prompts("mt_bench")
