"""The public names are the committed list: none is lost or added unnoticed.

A changed list is part of a change of the public interface. Write it anew with

    python -m tests.unit_tests.test_public_names
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import griffe
import pytest

from tests.public_api import breakages

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "public_names.txt"


def declared():
    """`(name, module)` of every `__all__` in the package, read from the source."""
    found = []
    for path in sorted((ROOT / "langchain_darwin").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found += [(name, module) for name in all_of(path)]
    return sorted(found)


def all_of(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def lines():
    return "".join(f"{name} {module}\n" for name, module in declared())


def test_the_list_is_what_the_packages_export():
    listed = LIST.read_text(encoding="utf-8")
    lost = set(listed.splitlines()) - set(lines().splitlines())
    new = set(lines().splitlines()) - set(listed.splitlines())
    advice = "if that is meant, run: python -m tests.unit_tests.test_public_names"
    assert listed == lines(), f"lost: {sorted(lost)}, new: {sorted(new)}; {advice}"


@pytest.mark.parametrize("module", sorted({module for _, module in declared()}))
def test_every_name_can_be_imported_and_is_listed_by_dir(module):
    package = importlib.import_module(module)

    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert set(package.__all__) <= set(dir(package))


def package(folder, source):
    (folder / "langchain_darwin").mkdir(parents=True)
    (folder / "langchain_darwin" / "__init__.py").write_text(source, encoding="utf-8")
    return griffe.load("langchain_darwin", search_paths=[folder], try_relative_path=False)


def test_what_breaks_a_user_is_found(tmp_path):
    before = "__all__ = ['Box', 'lost', 'open_box']\ndef open_box(box, key=1): ...\ndef lost(): ...\n"
    after = "__all__ = ['Box', 'new', 'open_box']\ndef open_box(box): ...\ndef new(): ...\ndef lost(): ...\n"
    box = "class Box:\n    def _own(self): ...\n    def size(self, unit): ...\n"
    changed = "class Box:\n    def size(self, unit, more): ...\n"
    old, new = package(tmp_path / "old", before + box), package(tmp_path / "new", after + changed)

    found = [line.partition(": ")[2].partition(": ")[2] for line in breakages(old, new)]

    assert breakages(old, old) == []
    assert sorted(set(found)) == [
        "Box.size(more): Parameter was added as required",
        "lost: Public object was removed",
        "open_box(key): Parameter was removed",
    ]


if __name__ == "__main__":
    LIST.write_text(lines(), encoding="utf-8")
