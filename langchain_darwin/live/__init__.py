"""A live view of one search in the terminal: pass it as `on_search_event`.

    with LiveView(policy.codec.decode) as view:
        ChatDarwin(model=policy, on_search_event=view).invoke("...")

On a terminal it redraws a panel. Elsewhere (a pipe, a log, a dumb terminal) it prints one line a round. Text of the
model is shown as plain text: it can neither style the view nor control the terminal. Read `progress.py` (events
become a state), then `view.py`. `text.py` makes text safe for a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.live.progress import Progress, Slot
    from langchain_darwin.live.text import bar, head, printable, tail
    from langchain_darwin.live.view import LiveView

__all__ = [
    "LiveView",
    "Progress",
    "Slot",
    "bar",
    "head",
    "printable",
    "tail",
]

_HOMES = {
    "LiveView": "view",
    "Progress": "progress",
    "Slot": "progress",
    "bar": "text",
    "head": "text",
    "printable": "text",
    "tail": "text",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
