import json

import pytest
from typer.testing import CliRunner

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.cli import app
from langchain_darwin.testing import WORDS, ScriptedPolicy, keyword_reward
from langchain_darwin.trace.preference_pairs import preference_pairs


@pytest.fixture
def trace(tmp_path):
    """A file with two searches."""
    path = tmp_path / "trace.jsonl"
    chat = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward(WORDS[0]), search=BestOfN(4), seed=1, trace=path)
    chat.batch(["Tell me", "Tell me more"])
    return path


def run(*args):
    return CliRunner().invoke(app, ["pairs", *map(str, args)])


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def key(pair):
    return pair["prompt"][0]["content"]


def test_pairs_go_to_standard_output_and_their_number_to_standard_error(trace):
    result = run(trace)
    assert result.exit_code == 0
    assert sorted(lines(result.stdout), key=key) == sorted(preference_pairs(trace), key=key)
    assert result.stderr == "2 pairs from 2 searches\n"


def test_pairs_go_to_a_file(trace, tmp_path):
    out = tmp_path / "folder" / "pairs.jsonl"
    result = run(trace, "--out", out, "--per-search", 2)
    assert result.stdout == ""
    assert lines(out.read_text()) == list(preference_pairs(trace, per_search=2))


def test_no_pairs_are_explained(trace):
    result = run(trace, "--margin", 1000)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "0 pairs from 2 searches: none has two finished answers whose rewards differ enough;"
        " --cut-off takes also answers that ended at the limit of tokens\n"
    )


def test_the_trace_is_never_overwritten(trace):
    before = trace.read_bytes()
    result = run(trace, "--out", trace)
    assert result.exit_code == 2
    assert "is the trace itself; name another file" in result.stderr
    assert trace.read_bytes() == before


def test_wrong_settings_are_a_usage_error(trace):
    result = run(trace, "--margin", -1)
    assert result.exit_code == 2
    assert result.stderr == "error: margin=-1.0 must be at least 0\n"
