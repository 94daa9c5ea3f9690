import json
import sys
from dataclasses import replace

import pytest

from langchain_darwin.errors import MissingDependencyError
from langchain_darwin.evaluation.reporting.report_files import write_plot, write_report
from langchain_darwin.evaluation.reporting.tables import markdown
from tests.unit_tests.evaluation.reporting.test_tables import REPORT


def test_numbers_and_tables(tmp_path):
    facts, page = write_report(REPORT, tmp_path)
    assert (facts, page) == (tmp_path / "report.json", tmp_path / "report.md")
    assert json.loads(facts.read_text()) == json.loads(json.dumps(REPORT.facts()))
    assert page.read_text() == markdown(REPORT)


@pytest.mark.parametrize("report", [REPORT, replace(REPORT, rows=()), replace(REPORT, rows=(), curve=())])
def test_a_picture(tmp_path, report):
    pytest.importorskip("matplotlib")
    assert write_plot(report, tmp_path).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"needs matplotlib; pip install 'langchain-darwin\[eval\]'"):
        write_plot(REPORT, tmp_path)
