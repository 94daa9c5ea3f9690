"""The command line and the quickstart on the embedded model, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_darwin.trace import read_trace

ROOT = Path(__file__).parents[2]
CLI = [sys.executable, "-c", "from langchain_darwin.cli import main; main()"]


def run(*args, cwd=ROOT):
    return subprocess.run([*map(str, args)], cwd=cwd, capture_output=True, text=True, check=True)


def test_model_path_is_a_folder_of_safetensors():
    done = run(*CLI, "model-path")
    (line,) = done.stdout.splitlines()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in Path(line).iterdir()}


@pytest.mark.slow
def test_a_question_is_answered_recorded_and_shown(tmp_path):
    path = tmp_path / "t.jsonl"
    options = [
        "--max-tokens",
        "24",
        "--beams",
        "3",
        "--period",
        "8",
        "--seed",
        "1",
        "--reward",
        "keywords:sea,wind",
        "--live",
        "--json",
        "--trace",
    ]
    done = run(*CLI, "ask", "Write about the sea.", *options, path)
    facts = json.loads(done.stdout)
    (trace,) = read_trace(path)
    assert trace.text(trace.outcome.best) == facts["answer"]
    assert trace.outcome.best.reward == facts["darwin"]["reward"]
    assert trace.cost["decoded"] == facts["darwin"]["tokens"]["decoded"]
    assert trace.notes == []
    assert "round 1" in done.stderr
    assert f"Answer (beam {trace.outcome.best.id} " in run(*CLI, "show", path).stdout


@pytest.mark.slow
def test_the_quickstart_runs():
    answer = run(sys.executable, ROOT / "examples" / "quickstart.py").stdout
    assert "'reward'" in answer
