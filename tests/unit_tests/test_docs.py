"""The code blocks of the pages that need no large model run; links and the extras that are named lead somewhere."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
# The folders from which pages name files; and a file that is another project's.
BASES = [ROOT, ROOT / "langchain_darwin", ROOT / "tests" / "unit_tests"]
ELSEWHERE = {"v1/kv_cache_interface.py"}


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("page", ["langchain.md", "streaming.md", "evaluation.md", "paper.md"])
def test_blocks_run(page, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    names = {"__name__": "docs"}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, page, "exec", dont_inherit=True), names)
        assert ("print(" in block) == bool(capsys.readouterr().out.strip()), block


def anchors(page):
    """As GitHub makes them of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / file if file else page, anchor) for file, anchor in links]
    assert [str(file) for file, _ in targets if not file.exists()] == []
    assert [anchor for file, anchor in targets if anchor and anchor not in anchors(file)] == []


def files_and_folders(page):
    """Those that a page names in code, such as `search/darwin.py` and `policies/local/`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", text)
    files = {path for span in spans for path in re.findall(r"(?<![\w/.:])(?:[\w.-]+/)+[\w-]+\.py\b", span)}
    return files.union(span for span in spans if re.fullmatch(r"(?:[\w.-]+/)+", span)) - ELSEWHERE


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_and_folders_that_are_named_exist(page):
    assert {path for path in files_and_folders(page) if not any((base / path).exists() for base in BASES)} == set()


FOLDERS = sorted(init.parent for init in (ROOT / "langchain_darwin").rglob("__init__.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_files_that_a_folder_describes_exist(folder):
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = re.findall(r"`([\w/]+\.py)`", docstring)
    assert [file for file in named if not any((base / file).exists() for base in [folder, *BASES])] == []


def test_every_folder_is_on_the_map():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    folders = [folder.relative_to(ROOT / "langchain_darwin").as_posix() for folder in FOLDERS]
    assert [folder for folder in folders if folder != "." and f"\n| `{folder}/` | " not in page] == []


def test_files_and_folders_are_found_on_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "See `search/no.py`, `policies/`, `python benchmarks/a.py --x`, `/v1/score`, `Org/Model` and `t/a.py::Test`."
    )
    assert files_and_folders(page) == {"search/no.py", "policies/", "benchmarks/a.py", "t/a.py"}


def test_the_extras_that_are_named_exist():
    sources = [*PAGES, *(ROOT / "langchain_darwin").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    named = {
        extra
        for source in sources
        for several in re.findall(r"langchain-darwin\[([\w,]+)\]", source.read_text(encoding="utf-8"))
        for extra in several.split(",")
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert named <= extras.keys()
    assert named >= {"tools", "vllm", "agents", "eval"}
