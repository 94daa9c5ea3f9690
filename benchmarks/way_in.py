"""The way in: changes of room from `invoke` to the first tokens that a search asks for, and visits to the settings.

    python benchmarks/way_in.py

A room is a folder or a loose file of `langchain_darwin`. Each call of a Python function of the package counts as being
in its room; a change is a call in another room than the call before. A visit to the settings is a call in
`chat/settings/` after one elsewhere. Nothing is decoded: the policy stops the call at its first `submit`.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import langchain_darwin
from langchain_darwin import ChatDarwin
from langchain_darwin.testing import ScriptedPolicy, keyword_reward

HOME = Path(langchain_darwin.__file__).parent
SETTINGS = "chat/settings/"


class FirstTokensAsked(Exception):
    """The search has asked for its first tokens."""


class StopsAtOnce(ScriptedPolicy):
    """A policy that ends the measurement when it is first asked for tokens."""

    def submit(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        sys.setprofile(None)
        raise FirstTokensAsked


def files_on_the_way_in(model: ChatDarwin, **settings: Any) -> list[str]:
    """The file of each call in the package, from `invoke` to the first `submit`, in order."""
    files: list[str] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(HOME):
            files.append(file.relative_to(HOME).as_posix())

    try:
        sys.setprofile(note)
        model.invoke("How is the sea?", **settings)
    except FirstTokensAsked:
        return files
    finally:
        sys.setprofile(None)
    raise RuntimeError("the search asked for no tokens")


def rooms(files: list[str]) -> list[str]:
    """The rooms in the order in which they are entered."""
    return [room for room, _ in itertools.groupby(file.partition("/")[0] for file in files)]


def visits(files: list[str], folder: str = SETTINGS) -> int:
    """The number of times that a folder is entered from elsewhere."""
    return [inside for inside, _ in itertools.groupby(file.startswith(folder) for file in files)].count(True)


def example() -> ChatDarwin:
    return ChatDarwin(model=StopsAtOnce(), reward=keyword_reward("sea"), seed=1)


def main() -> None:
    model = example()
    files_on_the_way_in(model)  # imports and what is kept are done once
    for title, settings in (("invoke(question)", {}), ("invoke(question, temperature=0.5)", {"temperature": 0.5})):
        files = files_on_the_way_in(model, **settings)
        print(f"{title}: {len(rooms(files))} changes of room, {visits(files)} visit to {SETTINGS}")
        print("  " + " > ".join(rooms(files)))


if __name__ == "__main__":
    main()
