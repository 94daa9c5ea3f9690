"""The package stays a house of few rooms: the limits of docs/architecture.md."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.structure import Module, Structure, length, nesting, ninth_decile, table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def structure():
    return Structure.read(ROOT)


def test_three_modules_lie_loose_at_the_root(structure):
    assert structure.loose() == {"chat_models", "errors", "middleware"}


def test_there_are_few_rooms_and_few_arrows_between_them(structure):
    assert len(structure.rooms()) <= 22
    assert len(structure.arrows()) < 80


def test_a_folder_has_at_most_ten_files(structure):
    """But for the searches, which are one algorithm a file."""
    files = structure.files_per_folder()
    assert {folder: n for folder, n in files.items() if n > 10} == {"search": 11}


def test_rewards_import_nothing_of_policies_but_the_protocol(structure):
    assert structure.rewards_on_policies() == set()


def test_no_file_has_more_than_300_lines(structure):
    long = {module.path.as_posix() for module in structure.modules if module.lines > 300}
    assert long == set()


def test_functions_are_short_and_flat(structure):
    nestings = structure.nestings()
    assert ninth_decile(structure.lengths()) <= 20
    assert sum(depth >= 4 for depth in nestings) < len(nestings) / 100


def test_nine_of_ten_sentences_of_the_readme_have_at_most_25_words(structure):
    assert structure.readme() <= 25


def test_the_table_has_a_row_for_each_measure_of_the_page(structure):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    measures = [row.split(" | ")[0] for row in table(structure).splitlines()[2:]]
    assert len(measures) == 8
    assert [measure for measure in measures if f"\n{measure} | " not in page] == []


def parsed(source):
    return ast.parse(source).body[0]


def test_length_leaves_the_docstring_out():
    assert length(parsed('def f():\n    """A.\n\n    B.\n    """\n    return 1\n')) == 2
    assert length(parsed("def f():\n    return 1\n")) == 2


def test_nesting_counts_blocks_but_no_elif_and_no_inner_function():
    assert nesting(parsed("def f():\n    return 1\n")) == 0
    assert (
        nesting(parsed("def f():\n    if a:\n        pass\n    elif b:\n        pass\n    elif c:\n        pass\n"))
        == 1
    )
    assert nesting(parsed("def f():\n    for a in b:\n        if a:\n            with a:\n                pass\n")) == 3
    assert nesting(parsed("def f():\n    def g():\n        if a:\n            pass\n    return g\n")) == 0


def test_arrows_are_counted_once_a_pair_of_rooms():
    sources = {
        "a/x.py": "from langchain_darwin.b import y\nimport langchain_darwin.c\n",
        "a/z.py": "def f():\n    from langchain_darwin.b.y import Z\n",
        "b/y.py": "import torch\nfrom langchain_darwin.b.z import A\n",
        "c.py": "from langchain_darwin import Name\n",
        "__init__.py": "",
    }
    modules = tuple(Module(Path(path), ast.parse(source), 1) for path, source in sources.items())
    structure = Structure(ROOT, modules)
    assert structure.rooms() == {"a", "b", "c", "__init__"}
    assert structure.arrows() == {("a", "b"), ("a", "c"), ("c", "__init__")}
    assert structure.loose() == {"c"}
    assert structure.files_per_folder() == {"a": 2, "b": 1, ".": 1}


def test_imports_of_rewards_into_policies_are_counted_but_for_the_protocol():
    source = "from langchain_darwin.policies.base import Job\nfrom langchain_darwin.policies.local.policy import P, Q\n"
    structure = Structure(ROOT, (Module(Path("rewards/x.py"), ast.parse(source), 2),))
    assert structure.rewards_on_policies() == {(Path("rewards/x.py"), ("policies", "local", "policy"))}


def test_a_class_name_means_one_thing(structure):
    named = Counter(
        node.name for module in structure.modules for node in module.tree.body if type(node) is ast.ClassDef
    )
    assert {name for name, count in named.items() if count > 1} == set()
