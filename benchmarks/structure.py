"""How the code and the README are built, in numbers: the table of docs/architecture.md.

    python -m benchmarks.structure            # this checkout
    python -m benchmarks.structure FOLDER     # another one

A room is a folder at the top of the package, or a file that lies loose there. An arrow is a pair of rooms of which
the first imports the second. A function's length counts its lines without the docstring. Its nesting is the depth
of its loops, branches, `with` and `try` blocks; an `elif` is no deeper than its `if`.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.prose import markdown_passages, ninetieth_percentile

PACKAGE = "langchain_darwin"
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ENTRIES = {"__init__", "__main__", "_lazy", "_version"}
"""Modules at the top of the package that hold no content of their own."""


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Attributes:
        path: Its path from the package's folder.
        tree: Its parsed source.
        lines: Its number of lines.
    """

    path: Path
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        """The folder at the top of the package, or the loose file's name."""
        return self.path.parts[0].removesuffix(".py")

    def imports(self) -> set[tuple[str, ...]]:
        """Dotted names that it imports anywhere from the package, without the package's own name."""
        names = {name for node in ast.walk(self.tree) for name in _imported(node)}
        return {tuple(name.split(".")[1:]) for name in names if name.startswith(f"{PACKAGE}.")}

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """All functions and methods."""
        return (node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS))


@dataclass(frozen=True)
class Structure:
    """The modules of a checkout, and what is counted of them."""

    root: Path
    modules: tuple[Module, ...]

    @classmethod
    def read(cls, root: Path) -> Structure:
        """Parse all modules of the package in a checkout."""
        package = root / PACKAGE
        sources = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
        modules = (
            Module(path.relative_to(package), ast.parse(source), len(source.splitlines()))
            for path, source in sources.items()
        )
        return cls(root, tuple(modules))

    def rooms(self) -> set[str]:
        """Names of all rooms."""
        return {module.room for module in self.modules}

    def loose(self) -> set[str]:
        """Rooms that are a single file with content of its own."""
        return {module.room for module in self.modules if len(module.path.parts) == 1} - ENTRIES

    def arrows(self) -> set[tuple[str, str]]:
        """Pairs of rooms of which the first imports the second; a name of the package itself is `__init__`'s."""
        rooms = self.rooms()
        pairs = {(module.room, name[0]) for module in self.modules for name in module.imports()}
        return {(a, b if b in rooms else "__init__") for a, b in pairs if a != b}

    def files_per_folder(self) -> Counter[str]:
        """Number of modules in each folder, without its `__init__`."""
        named = (module for module in self.modules if module.path.stem not in ENTRIES)
        return Counter(module.path.parent.as_posix() for module in named)

    def rewards_on_policies(self) -> set[tuple[Path, tuple[str, ...]]]:
        """Pairs of a module of `rewards` and a module of `policies` that it imports, other than the protocol."""
        names = {(module.path, name[:-1]) for module in self.modules for name in module.imports()}
        return {
            (path, name)
            for path, name in names
            if path.parts[0] == "rewards" and name[:1] == ("policies",) and name != ("policies", "base")
        }

    def lengths(self) -> list[int]:
        """Lines of every function, ascending."""
        return sorted(length(function) for module in self.modules for function in module.functions())

    def nestings(self) -> list[int]:
        """Depth of every function, ascending."""
        return sorted(nesting(function) for module in self.modules for function in module.functions())

    def longest_file(self) -> Module:
        """The module of most lines."""
        return max(self.modules, key=lambda module: module.lines)

    def readme(self) -> int:
        """Words that nine of ten sentences of the README have at most."""
        text = (self.root / "README.md").read_text(encoding="utf-8")
        return ninetieth_percentile(markdown_passages(text, tables=False))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Depth of the deepest block below a node, without what inner functions hold."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FUNCTIONS):
            deeper = isinstance(child, BLOCKS) and not _is_elif(node, child)
            deepest = max(deepest, nesting(child, depth + deeper))
    return deepest


def ninth_decile(values: list[int]) -> int:
    """The value that nine of ten sorted values do not exceed."""
    return values[int(0.9 * (len(values) - 1))]


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _is_elif(parent: ast.AST, child: ast.AST) -> bool:
    return isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]


def table(structure: Structure) -> str:
    """The measures as a Markdown table."""
    folders, files, nestings = structure.files_per_folder(), structure.longest_file(), structure.nestings()
    folder, most = folders.most_common(1)[0]
    rows = [
        ("modules with content at the package's root", len(structure.loose())),
        ("rooms, arrows", f"{len(structure.rooms())}, {len(structure.arrows())}"),
        ("most files in a folder", f"{most} (`{folder}/`)"),
        (
            "imports from `rewards` into `policies` beyond the protocol",
            len(structure.rewards_on_policies()),
        ),
        ("words a sentence in README, 90th percentile", structure.readme()),
        ("lines of a function, 90th percentile", ninth_decile(structure.lengths())),
        ("functions nested four deep or more", f"{sum(n >= 4 for n in nestings) / len(nestings):.1%}"),
        ("lines of the longest file", f"{files.lines} (`{files.path.as_posix()}`)"),
    ]
    return "\n".join(["| measure | value |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    print(table(Structure.read(parser.parse_args().folder)))


if __name__ == "__main__":
    main()
