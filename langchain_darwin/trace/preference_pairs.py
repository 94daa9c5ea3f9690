"""Preference pairs from traces: what a search found good and bad, as data for direct preference optimisation.

The pairs have TRL's conversational preference format with explicit prompts, and the two scores. `prompt`, `chosen`
and `rejected` are lists of messages. TRL's `DPOTrainer` takes them as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.trace.reader import Trace
from langchain_darwin.trace.streaming import stream_traces


def preference_pairs(
    path: str | Path, *, margin: float = 0.0, per_search: int = 1, cut_off: bool = False
) -> Iterator[dict[str, Any]]:
    """Return the pairs of all searches in a trace, read run by run; see `pairs_of`.

    Raises:
        ConfigurationError: A setting is out of range, or the file is missing or no trace.
    """
    check_settings(path, margin, per_search)
    return (
        pair
        for trace in stream_traces(path)
        for pair in pairs_of(trace, margin=margin, per_search=per_search, cut_off=cut_off)
    )


def check_settings(path: str | Path, margin: float, per_search: int = 1) -> None:
    """Refuse settings out of their range and a file that is not there."""
    check_range("margin", margin, low=0)
    check_range("per_search", per_search, low=1)
    if not Path(path).is_file():
        raise ConfigurationError(f"{path}: no such file; pass one that `trace=` or `ask --trace` wrote")


def pairs_of(trace: Trace, *, margin: float = 0.0, per_search: int = 1, cut_off: bool = False) -> list[dict[str, Any]]:
    """The pairs of one search: the best answer against the worst, the next best against the next worst, and so on.

    Answers are finished texts with a reward, those that the search dropped included, each text once. They are
    unchanged, with reasoning and tool calls. They answer the original conversation, because the reward judged
    them by that, also if they were drawn under another instruction.

    Args:
        trace: The search.
        margin: Least difference of rewards; equal rewards make no pair.
        per_search: Most pairs of one search.
        cut_off: Take also answers that ended at the limit of tokens. A model trained on them learns to stop there.

    Returns:
        Objects with `prompt`, `chosen`, `rejected`, `score_chosen` and `score_rejected`, and `tools` where the
        conversation had some.
    """
    answers = sorted(_answers(trace, cut_off=cut_off).items(), key=lambda answer: answer[1], reverse=True)
    number = min(per_search, len(answers) // 2)
    couples = list(zip(answers, reversed(answers), strict=True))[:number]
    return [_pair(trace, best, worst) for best, worst in couples if best[1] > worst[1] and best[1] - worst[1] >= margin]


def json_line(pair: dict[str, Any]) -> str:
    """The pair as a line of a file that `datasets` loads as JSON, with its end."""
    return json.dumps(pair) + "\n"


def _answers(trace: Trace, *, cut_off: bool) -> dict[str, float]:
    """Texts and rewards; of beams with the same text the first counts."""
    ends = ("stop", "length") if cut_off else ("stop",)
    answers: dict[str, float] = {}
    for beam in trace.beams.values():
        text = trace.text(beam)
        if beam.finish in ends and not beam.aside and beam.reward is not None and text.strip():
            answers.setdefault(text, float(beam.reward))
    return answers


def _pair(trace: Trace, best: tuple[str, float], worst: tuple[str, float]) -> dict[str, Any]:
    tools = {"tools": trace.header["tools"]} if trace.header.get("tools") else {}
    return {
        "prompt": trace.header["conversation"],
        "chosen": [{"role": "assistant", "content": best[0]}],
        "rejected": [{"role": "assistant", "content": worst[0]}],
        "score_chosen": best[1],
        "score_rejected": worst[1],
        **tools,
    }
