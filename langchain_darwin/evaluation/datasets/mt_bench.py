"""MT-Bench's file of model answers: FastChat's `gen_judgment.py --model-list MODEL` reads it.

One object a line with `question_id`, `answer_id`, `model_id`, `choices` and `tstamp`, sorted by question, in
`data/mt_bench/model_answer/MODEL.jsonl`, as `fastchat/llm_judge/gen_model_answer.py` writes it
(github.com/lm-sys/FastChat). FastChat judges the first choice only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.datasets.prompts import Prompt

Choices = Sequence[Sequence[str]]
"""Answers to one question, one or more times: `choices[i][j]` is what was said in turn j of choice i."""


def write_model_answers(
    folder: str | Path, model_id: str, answers: Iterable[tuple[Prompt, Choices]], *, tstamp: float | None = None
) -> Path:
    """Write the answers of one model to `MODEL_ID.jsonl`; folders are made if missing.

    Args:
        folder: FastChat's `model_answer` folder.
        model_id: Name of the model, and of the file.
        answers: Questions of MT-Bench and what the model said, at least one choice each.
        tstamp: When the answers were made, in seconds since 1970. Default: now.

    Returns:
        The file.

    Raises:
        ConfigurationError: The model's name cannot be a file's, a prompt has no number, or turns are missing.
    """
    if not model_id or "/" in model_id or "\\" in model_id:
        raise ConfigurationError(f"model_id={model_id!r} must be usable as the name of a file; leave out slashes")
    when = time.time() if tstamp is None else tstamp
    lines = sorted((_answer(prompt, choices, model_id, when) for prompt, choices in answers), key=_question)
    path = Path(folder) / f"{model_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def _question(answer: dict[str, Any]) -> int:
    number: int = answer["question_id"]
    return number


def _answer(prompt: Prompt, choices: Choices, model_id: str, tstamp: float) -> dict[str, Any]:
    number = prompt.data.get("question_id")
    if not isinstance(number, int):
        msg = f"prompt {prompt.key!r}: question_id={number!r} must be MT-Bench's number of the question"
        raise ConfigurationError(f"{msg}; load the prompts with mt_bench=FILE")
    said = [{"index": index, "turns": _turns(prompt, turns)} for index, turns in enumerate(choices)]
    if not said:
        raise ConfigurationError(f"prompt {prompt.key!r} has no answer; give at least one choice")
    # Not random, unlike FastChat's: the same answers make the same file.
    answer_id = hashlib.sha256(json.dumps([model_id, number, said]).encode()).hexdigest()[:22]
    return {
        "question_id": number,
        "answer_id": answer_id,
        "model_id": model_id,
        "choices": said,
        "tstamp": tstamp,
    }


def _turns(prompt: Prompt, turns: Sequence[str]) -> list[str]:
    if len(turns) != len(prompt.turns):
        msg = f"prompt {prompt.key!r} has {len(prompt.turns)} turns and {len(turns)} answers"
        raise ConfigurationError(f"{msg}; give one answer a turn")
    return list(turns)
