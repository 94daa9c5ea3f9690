"""`compare` on the embedded model, killed in the middle and continued."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from langchain_darwin.evaluation.records import read_records

CLI = [sys.executable, "-c", "from langchain_darwin.cli import main; main()", "compare"]
SEARCHES = ["-s", "best-of-n:n=2", "-s", "ours@darwin:beams=2,keep=1,period=6,mutation=none"]
MEASURES = ["-r", "keywords:sea,wind,storm", "-g", "no-repetition"]


@pytest.fixture
def command(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Write about the sea.\nWrite about a storm.\n")
    options = ["--prompts", prompts, *SEARCHES, *MEASURES, "--pool", 3, "--max-tokens", 16, "--at-once", 1]
    return [*CLI, *map(str, options), "--out"]


def without_seconds(report):
    """The numbers of a report that do not come from the clock."""
    if isinstance(report, dict):
        kept = {key: value for key, value in report.items() if "seconds" not in key}
        return {key: without_seconds(value) for key, value in kept.items()}
    return [without_seconds(item) for item in report] if isinstance(report, list) else report


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after(command, records, runs):
    """Start a comparison and kill it, with the signal that nothing can catch, once so many runs are written down."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while lines(records) < runs + 2 and process.poll() is None:  # a header and a plan stand before the runs
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(900)  # three comparisons
def test_a_killed_comparison_ends_with_the_numbers_of_one_that_was_left_alone(command, tmp_path):
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True)
    kill_after([*command, tmp_path / "killed"], tmp_path / "killed" / "records.jsonl", runs=2)
    before = len(read_records(tmp_path / "killed").done)
    assert 2 <= before < 6
    done = subprocess.run([*command, tmp_path / "killed"], check=True, capture_output=True, text=True)
    assert "6 of 6 runs" in done.stderr
    whole, killed = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "killed"))
    prompt_tokens = {"prefilled", "reused"}  # depend on what the policy still had in memory
    for row in whole["rows"] + killed["rows"]:
        for name in prompt_tokens:
            del row["cost"][name]
    assert without_seconds(killed) == without_seconds(whole)
