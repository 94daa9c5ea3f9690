"""AlpacaEval's file of model outputs: `alpaca_eval --model_outputs FILE` has it judged.

A list of objects with `instruction`, `output`, `generator` and `dataset`, as `alpaca_eval.main` reads and writes
it (github.com/tatsu-lab/alpaca_eval). It matches outputs to the references by their instructions, whatever
their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.datasets.prompts import Prompt


def write_model_outputs(path: str | Path, generator: str, answers: Iterable[tuple[Prompt, str]]) -> None:
    """Write the answers of one model, in the given order; folders are made if missing.

    Args:
        path: The file, `.json`.
        generator: Name of the model on the leaderboard.
        answers: Prompts of one turn and what the model said.

    Raises:
        ConfigurationError: The file's name does not end in .json, or a prompt has several turns.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ConfigurationError(f"{path} must end in .json: AlpacaEval chooses its reader by the name")
    outputs = [_output(prompt, text, generator) for prompt, text in answers]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outputs, indent=2) + "\n", encoding="utf-8")


def _output(prompt: Prompt, text: str, generator: str) -> dict[str, Any]:
    if len(prompt.turns) != 1:
        turns = len(prompt.turns)
        raise ConfigurationError(f"prompt {prompt.key!r} has {turns} turns; AlpacaEval judges one answer to one turn")
    origin = {"dataset": prompt.data["dataset"]} if "dataset" in prompt.data else {}
    return {**origin, "instruction": prompt.turns[0], "output": text, "generator": generator}
