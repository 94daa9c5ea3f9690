import json
import runpy
import sys

import pytest
from typer.testing import CliRunner

from langchain_darwin import __version__
from langchain_darwin.cli import app
from langchain_darwin.inference import embedded_model as embedded
from langchain_darwin.policies.local import policy as transformers
from langchain_darwin.testing import WORDS, ScriptedPolicy
from langchain_darwin.trace import read_trace

runner = CliRunner()
DARWIN = ["--search", "darwin", "--beams", "3", "--period", "10", "--reward", f"keywords:{WORDS[0]},{WORDS[1]}"]


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    monkeypatch.setattr(transformers, "TransformersPolicy", lambda *_args, **_kwargs: ScriptedPolicy())


def run(*args, **options):
    return runner.invoke(app, [*map(str, args)], **options)


def test_version():
    assert run("--version").stdout == f"langchain-darwin {__version__}\n"


def test_ask_prints_the_answer_alone_on_standard_output():
    result = run("ask", "Tell me", "--seed", 1, *DARWIN)
    assert result.exit_code == 0
    assert set(result.stdout.split()) <= set(WORDS)
    assert "seed 1" in result.stderr
    assert "reward " in result.stderr


def test_ask_as_json_and_from_standard_input():
    result = run("ask", "-", "--json", "--seed", 3, "--system", "Be brief", *DARWIN, input="Tell me\n")
    facts = json.loads(result.stdout)
    assert facts["darwin"]["seed"] == 3
    assert facts["answer"]
    assert facts["usage"]["output_tokens"] > 0
    assert (
        run("ask", "Tell me", "--json", "--seed", 3, "--system", "Be brief", *DARWIN).stdout.split('"seconds"')[0]
        == result.stdout.split('"seconds"', maxsplit=1)[0]
    )


def test_ask_live_without_a_terminal_prints_rounds():
    result = run("ask", "Tell me", "--live", *DARWIN)
    assert "round 1" in result.stderr
    assert "round 1" not in result.stdout


def test_ask_then_show(tmp_path):
    path = tmp_path / "t.jsonl"
    for seed in (1, 2):
        assert run("ask", "Tell me", "--seed", seed, "--trace", path, *DARWIN).exit_code == 0
    first, second = read_trace(path)
    both = run("show", path)
    assert both.exit_code == 0
    assert "run 1 of 2" in both.stdout
    assert "the answer" in both.stdout
    assert "cycle 1: from “Tell me”" in both.stdout
    one = run("show", path, "--run", 2, "--full")
    assert second.run in one.stdout
    assert first.run not in one.stdout
    assert run("show", path, "--run", second.run).stdout.splitlines()[:2] == one.stdout.splitlines()[:2]
    missing = run("show", path, "--run", 9)
    assert missing.exit_code == 2
    assert f"holds these: 1 to 2, or {first.run}, {second.run}" in missing.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["ask"], 2, "Missing argument"),
        (["ask", "Hi", "--beams", "many"], 2, "valid int"),
        (["ask", "Hi", "--reward", "helpful"], 2, "error: --reward 'helpful' is not a reward"),
        (["ask", "Hi", "--temperature", "-1", "--reward", "json"], 2, "error: temperature=-1.0 must be at least 0\n"),
        (["show", "/nowhere.jsonl"], 1, "error: [Errno 2] No such file or directory: '/nowhere.jsonl'\n"),
    ],
)
def test_errors_are_told_without_a_traceback(args, code, message):
    result = run(*args)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def bad_reward(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def f(messages, responses):\n    raise KeyError('oh no')\n")
    return f"{path}:f"


def test_a_reward_that_raises_fails_with_one_line(bad_reward):
    result = run("ask", "Hi", "--reward", bad_reward)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "KeyError" in result.stderr


def test_debug_shows_where(bad_reward):
    result = run("ask", "Hi", "--reward", bad_reward, "--debug")
    assert result.exit_code == 1
    assert "KeyError" in repr(result.exception.__cause__)


def test_control_characters_of_a_message_are_left_out():
    assert "\x1b" not in run("ask", "Hi", "--reward", "\x1b[31mred").stderr


def test_model_path_prints_the_folder_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "embedded_model_path", lambda: tmp_path)
    assert run("model-path").stdout == f"{tmp_path}\n"


def test_demo_runs_to_its_end(tmp_path):
    result = run("demo", "--seed", 3, "--trace", tmp_path / "t.jsonl")
    assert result.exit_code == 0, result.output
    for name in ("plain", "best of 5", "DARWIN"):
        assert name in result.stdout
    assert len(read_trace(tmp_path / "t.jsonl")) == 3


def test_the_package_can_be_run_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["langchain_darwin", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("langchain_darwin", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"langchain-darwin {__version__}\n"
