"""Text of unknown origin made fit for a terminal, and bars."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells
from rich.text import Text

BAR = 10  # characters of a reward bar
# Anything that could move the cursor, hide or reorder text; white space is dealt with apart.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text without anything that could drive a terminal; on one line, unless `lines` are kept."""
    if not lines:
        return _CONTROLS.sub("", " ".join(text.split()))
    return "\n".join(_CONTROLS.sub("", line.replace("\t", "    ")) for line in re.split("\r\n|\r|\n", text))


def bar(value: float | None, low: float, high: float, width: int = BAR) -> Text:
    """A bar for `value` between the lowest and the highest reward seen."""
    if value is None:
        return Text("·" * width, style="dim")
    share = 1.0 if high <= low else (value - low) / (high - low)
    full = max(1, round(share * width))
    return Text("█" * full, style="green" if share > 2 / 3 else "yellow" if share > 1 / 3 else "red") + Text(
        "░" * (width - full), style="dim"
    )


def tail(text: str, width: int) -> str:
    """The end of a text, at most `width` terminal cells of it."""
    if cell_len(text) <= width:
        return text
    end = chop_cells(text[::-1], max(1, width - 1))[0]
    return "…" + end[::-1]


def head(text: str, width: int) -> str:
    """The beginning of a text, at most `width` terminal cells of it."""
    return text if cell_len(text) <= width else chop_cells(text, max(1, width - 1))[0] + "…"
