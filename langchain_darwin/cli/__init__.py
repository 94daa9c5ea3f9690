"""The command `langchain-darwin`. One command a file; nothing heavy is imported before a command runs.

The commands are `ask.py`, `compare.py`, `demo.py`, `show.py`, `export.py` and `model_path.py`. `search_specs.py`
and `reward_specs.py` read searches and rewards as they are written on a command line. `boundary.py` turns errors
into messages and exit codes.
"""

from __future__ import annotations

from typing import Annotated

import typer

from langchain_darwin._version import __version__
from langchain_darwin.cli import ask, compare, demo, export, model_path, show

app = typer.Typer(
    name="langchain-darwin",
    help="Search for the answer that a reward likes best, with DARWIN (arXiv 2406.15193) on a local model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(epilog=ask.EPILOG)(ask.ask)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command()(demo.demo)
app.command()(show.show)
app.command()(export.pairs)
app.command("model-path")(model_path.model_path)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"langchain-darwin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
