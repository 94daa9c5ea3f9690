import json

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.datasets.alpaca_eval import write_model_outputs
from langchain_darwin.evaluation.datasets.prompts import Prompt, load_prompts

ASKED = Prompt("1", ("Where is Indonesia?",), {"instruction": "Where is Indonesia?", "dataset": "helpful_base"})
PLAIN = Prompt("2", ("Why?",), {"prompt": "Why?"})


def test_outputs_have_the_fields_of_alpaca_eval(tmp_path):
    path = tmp_path / "results" / "mine.json"
    write_model_outputs(path, "smollm2-darwin", [(ASKED, "In Asia, “dört”.\n"), (PLAIN, "")])
    assert json.loads(path.read_text()) == [
        {
            "dataset": "helpful_base",
            "instruction": "Where is Indonesia?",
            "output": "In Asia, “dört”.\n",
            "generator": "smollm2-darwin",
        },
        {"instruction": "Why?", "output": "", "generator": "smollm2-darwin"},
    ]


def test_the_file_is_again_a_set_of_the_same_prompts(tmp_path):
    path = tmp_path / "mine.json"
    write_model_outputs(path, "m", [(ASKED, "In Asia.")])
    found = load_prompts(str(path))
    assert found.name == "alpaca_eval"
    assert [(prompt.key, prompt.turns) for prompt in found] == [(ASKED.key, ASKED.turns)]


def test_the_name_of_the_file_tells_its_format(tmp_path):
    with pytest.raises(ConfigurationError, match=r"mine\.jsonl must end in \.json: AlpacaEval chooses its reader"):
        write_model_outputs(tmp_path / "mine.jsonl", "m", [])


def test_a_prompt_of_two_turns_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="prompt '81' has 2 turns; AlpacaEval judges one answer to one turn"):
        write_model_outputs(tmp_path / "mine.json", "m", [(Prompt("81", ("a", "b"), {}), "c")])
