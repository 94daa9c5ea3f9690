"""The border between the command line and errors, logs and the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel="Other")]


@contextmanager
def plain_errors(*, debug: bool) -> Iterator[None]:
    """Turn errors into a message and an exit code: 2 for usage, 1 for failures, 130 for Ctrl-C."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader of our output left, `| head` for example
        sys.stderr.close()
        raise typer.Exit(1) from None
    except Exception as error:
        if debug:
            raise
        from langchain_darwin.live.text import printable

        typer.echo(printable(f"error: {_message(error)}", lines=True), err=True)
        raise typer.Exit(2 if _is_usage(error) else 1) from None


def _message(error: Exception) -> str:
    from pydantic import ValidationError

    from langchain_darwin.errors import DarwinError

    if isinstance(error, DarwinError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
    if isinstance(error, OSError):
        return str(error)
    first_line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line} (--debug shows where)"


def _is_usage(error: Exception) -> bool:
    from pydantic import ValidationError

    from langchain_darwin.errors import ConfigurationError, InvalidRequestError

    return isinstance(error, ConfigurationError | InvalidRequestError | ValidationError)


class _Teller(logging.Handler):
    """Shows what the package logs, for example that the model is being converted, which takes a while."""

    def emit(self, record: logging.LogRecord) -> None:
        from langchain_darwin.live.text import printable

        typer.echo(printable(record.getMessage()), err=True)


def tell_progress() -> None:
    """Show the package's log records from INFO on, without time and place."""
    logger = logging.getLogger("langchain_darwin")
    if not any(isinstance(handler, _Teller) for handler in logger.handlers):
        logger.addHandler(_Teller())
        logger.setLevel(logging.INFO)
        logger.propagate = False
