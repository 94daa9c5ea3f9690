"""Scripts without a main guard: a child process would run them again, so the engine is not started from them."""

from __future__ import annotations

import ast
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from langchain_darwin.errors import ConfigurationError

_GUARD = 'if __name__ == "__main__":'


def check_main_guard() -> None:
    """Raise if a process that is started now would run the program's script a second time.

    Raises:
        ConfigurationError: The script's own top level asks for the engine outside of a main guard, or this process
            is such a second run.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        msg = f"this script is run again by a process that it started; put its calls under `{_GUARD}`"
        raise ConfigurationError(msg)
    line = _unguarded_line()
    if line is not None:
        file = sys.modules["__main__"].__file__
        msg = (
            f"{file}, line {line}, starts vLLM's engine outside of `{_GUARD}`. The engine's process imports the "
            f"script, and would run this line again; put the line under `{_GUARD}`, or take engine='transformers'"
        )
        raise ConfigurationError(msg)


def _unguarded_line() -> int | None:
    """Return the line of the running script's top level, unless a child would not reach it."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    if main is None or file is None or (spec is not None and spec.name.endswith("__main__")):  # not run by children
        return None
    for frame in _frames():
        if frame.f_globals is vars(main) and frame.f_code.co_name == "<module>":
            return None if _is_guarded(Path(file), frame.f_lineno) else frame.f_lineno
    return None


def _frames() -> Iterator[FrameType]:
    """All frames of all threads."""
    for newest in sys._current_frames().values():  # noqa: SLF001  (the documented way to see other threads)
        frame: FrameType | None = newest
        while frame is not None:
            yield frame
            frame = frame.f_back


def _is_guarded(file: Path, line: int) -> bool:
    """Return True if a line lies in an `if` that asks for `__name__`, or the file cannot be read."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return True
    guards = [node for node in body if isinstance(node, ast.If) and "__name__" in ast.dump(node.test)]
    return any(node.lineno <= line <= (node.end_lineno or 0) for node in guards)
