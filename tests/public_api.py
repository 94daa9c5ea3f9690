"""What changed for users since a tag: `python -m tests.public_api TAG` lists what would break them, and fails.

Compares the names that packages export (`__all__`) and what these names are made of: arguments, attributes, methods.
Where an object lives does not count, so that modules may move behind the exported names. That is why `griffe check`,
which takes every module for public, is not called itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import griffe

PACKAGE = "langchain_darwin"


def exported(package: griffe.Object) -> Iterator[griffe.Object | griffe.Alias]:
    """Every object that the package or a module of it exports."""
    for name in package.exports or ():
        yield package.members[str(name)]
    for module in package.modules.values():
        yield from exported(module)


def breakages(old: griffe.Object, new: griffe.Object) -> list[str]:
    """One line for each change that breaks a user of an exported name."""
    found: list[str] = []
    kept = {each.path: each for each in exported(new)}
    for before in exported(old):
        changes = griffe.find_breaking_changes(alone(before), alone(kept.get(before.path)))
        found += [f"{before.path}: {explained(change)}" for change in changes]
    return list(dict.fromkeys(found))


def alone(thing: griffe.Object | griffe.Alias | None) -> griffe.Module:
    """A module of one name, so that the object itself is compared and not only its members."""
    module = griffe.Module("exported")
    if thing is not None:
        module.members[thing.name] = thing.final_target if isinstance(thing, griffe.Alias) else thing
    return module


def explained(change: griffe.Breakage) -> str:
    """The change in one line without colours."""
    return re.sub(r"\x1b\[\d+m", "", change.explain(griffe.ExplanationStyle.ONE_LINE))


def main(tag: str) -> int:
    """Print what broke since `tag`; 1 if anything did."""
    old = griffe.load_git(PACKAGE, ref=tag, resolve_aliases=True)
    found = breakages(old, griffe.load(PACKAGE, search_paths=["."], resolve_aliases=True))
    print("\n".join(found) or f"api: nothing that {tag} exports has been removed or changed in a breaking way")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
