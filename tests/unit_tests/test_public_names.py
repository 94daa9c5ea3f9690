"""The public names are the committed list: none is lost or added unnoticed.

A changed list is part of a change of the public interface. Write it anew with

    python -m tests.unit_tests.test_public_names
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

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


if __name__ == "__main__":
    LIST.write_text(lines(), encoding="utf-8")
