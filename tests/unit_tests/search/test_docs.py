"""Code in docs/searches.md runs, and the search that it writes keeps to the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from langchain_darwin import search
from langchain_darwin.testing.contracts import SearchContract

PAGE = Path(__file__).parents[3] / "docs" / "searches.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def names_of(block):
    names = {"__name__": "docs"}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, capsys):
    names_of(block)
    assert ("print(" in block) == bool(capsys.readouterr().out.strip())


def test_every_search_has_its_paragraph():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in search.__all__ if f"**`{name}(" not in text] == []


class TestCup(SearchContract):
    @pytest.fixture
    def search(self):
        return names_of(BLOCKS[-1])["Cup"](period=6)
