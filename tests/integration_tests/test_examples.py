"""The examples run on the embedded model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rag", "34 metres"),
        ("agent", "5.6 million people live in Norway"),
        ("structured", "minutes="),
        ("streaming", "[best of 4: "),
    ],
)
def test_it_runs(name, said, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert said in capsys.readouterr().out


def test_no_example_is_left_out():
    tested = {"rag", "agent", "structured", "streaming", "quickstart"}  # the last in test_cli
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
