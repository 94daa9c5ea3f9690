import json

import pytest
from typer.testing import CliRunner

from langchain_darwin.cli import app, compare
from langchain_darwin.evaluation.datasets.prompts import Prompt, PromptSet
from langchain_darwin.policies.local import policy as transformers
from langchain_darwin.testing import ScriptedPolicy

runner = CliRunner()
SEARCHES = ["--searches", "best-of-n:n=2", "--searches", "ours@darwin:beams=3,period=6,mutation=none"]
MEASURES = ["--reward", "keywords:sea,sky", "--gold", "no-repetition"]


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    monkeypatch.setattr(transformers, "TransformersPolicy", lambda *_args, **_kwargs: ScriptedPolicy(length=12))


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("Write a line\nWrite another\n")
    return path


def run(*args):
    return runner.invoke(app, ["compare", *map(str, args)])


def command(tmp_path, prompts, *more):
    return run("--out", tmp_path / "out", "--prompts", prompts, *SEARCHES, *MEASURES, "--pool", 3, *more)


def test_a_comparison_ends_with_tables_and_files(tmp_path, prompts):
    result = command(tmp_path, prompts)
    assert result.exit_code == 0
    for text in ("2 prompts of prompts.txt, seed 0", "best-of-n:n=2", "ours", "at equal policy tokens"):
        assert text in result.stdout
    assert "6 of 6 runs" in result.stderr
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"records.jsonl", "report.json", "report.md"} <= files
    assert json.loads((tmp_path / "out" / "report.json").read_text())["done"] == 6


def test_a_finished_comparison_only_reports(tmp_path, prompts):
    first = command(tmp_path, prompts)
    again = command(tmp_path, prompts)
    only = run("--out", tmp_path / "out", "--report-only")
    assert (again.stdout, only.stdout) == (first.stdout, first.stdout)
    assert "of 6 runs" not in again.stderr + only.stderr


def test_changed_settings_are_refused(tmp_path, prompts):
    command(tmp_path, prompts)
    result = command(tmp_path, prompts, "--temperature", 1)
    assert result.exit_code == 2
    assert "temperature was 0.7, now 1.0. Give these again, or a new folder" in result.stderr


def test_a_known_set_s_answers_are_written_in_its_format(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([{"instruction": "Write a line", "output": "", "generator": "x", "dataset": "y"}]))
    assert command(tmp_path, f"alpaca_eval={path}").exit_code == 0
    assert (tmp_path / "out" / "alpaca_eval" / "ours.json").is_file()


def test_failures_are_told_and_leave_an_exit_code(tmp_path, prompts):
    (tmp_path / "measure.py").write_text(
        "def gold(messages, responses):\n"
        "    if 'another' in messages[0].text: raise ValueError('not this one')\n"
        "    return [0.0] * len(responses)\n"
    )
    gold = ["--gold", f"{tmp_path / 'measure.py'}:gold"]
    result = run("-o", tmp_path / "out", "--prompts", prompts, *SEARCHES, "-r", "keywords:sea", *gold, "--pool", 3)
    assert result.exit_code == 1
    assert "failed: prompt 2, ours, seed 0: RewardError" in result.stderr
    assert "NOT FINISHED: 3 of 6 runs are done" in " ".join(result.stdout.split())


def test_ctrl_c_says_how_to_go_on(tmp_path, prompts, monkeypatch):
    def stopped(comparison, out, *, at_once, watch):
        watch(None, 2, 6)
        raise KeyboardInterrupt

    monkeypatch.setattr("langchain_darwin.evaluation.comparison.compare", stopped)
    result = command(tmp_path, prompts)
    assert result.exit_code == 130
    assert "2 of 6 runs are done. The same command goes on where this one stopped." in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--prompts and --searches and --reward and --gold missing"),
        (["--prompts", "none.txt", *SEARCHES, *MEASURES], "no such file"),
        (["--prompts", "{prompts}", *SEARCHES, *MEASURES, "--seeds", "a"], "--seeds 'a' must be whole numbers"),
        (["--prompts", "{prompts}", *SEARCHES, "-r", "json", "-g", "json"], "is the guiding reward itself"),
        (["--prompts", "{prompts}", *SEARCHES, "-r", "json", "-g", "jsn"], "--gold 'jsn' is not a reward"),
        (["--prompts", "{prompts}", "-s", "darwim", *MEASURES], "did you mean 'darwin'"),
        (["--prompts", "{prompts}", *SEARCHES, "-r", "json", "-g", "ifeval"], "has no instruction_id_list"),
    ],
)
def test_wrong_usage(tmp_path, prompts, options, message):
    result = run("--out", tmp_path / "out", *(option.format(prompts=prompts) for option in options))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_the_verifiers_can_guide_and_measure():
    made = compare._verifiers(PromptSet("ifeval", (Prompt("1", ("Hi",), {"instruction_id_list": [], "kwargs": []}),)))
    assert [type(make()).__name__ for make in made.values()] == ["StrictAccuracy", "PartialScore"]
