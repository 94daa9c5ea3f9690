"""What a comparison writes down: one JSON line a run, in `records.jsonl`, and how it is read back.

The first line is a header with all settings that the runs share. A plan says which searches, prompts and seeds were
asked for last. Every other line is a run that ended, or one that failed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from langchain_darwin.errors import ConfigurationError

FORMAT = 1
FILE_NAME = "records.jsonl"
POOL = "pool"
"""In place of a search's digest in the runs that make the pool of plain samples."""


class RunKey(NamedTuple):
    """The identity of a run within a comparison."""

    prompt: str
    search: str
    seed: int


@dataclass(frozen=True)
class Answer:
    """One answer of one turn.

    Attributes:
        text: What was said.
        tokens: Of the answer alone.
        reward: By the guiding reward.
        gold: By the other measure.
        finish: Why it ended: "stop", "length", "timeout", "budget" or another of LangChain's finish reasons.
    """

    text: str
    tokens: int
    reward: float
    gold: float
    finish: str | None


@dataclass(frozen=True)
class Cost:
    """What a run spent, all turns together.

    Attributes:
        decoded: Policy tokens drawn, of answers, rewritten instructions and discarded text.
        prefilled: Prompt tokens that the policy computed; depends on what it had in memory.
        reused: Prompt tokens that it had in memory.
        judged: Texts that went to the reward.
        judgings: Calls of the reward, each with one or more texts.
        judged_tokens: Answer tokens of the judged texts by the policy's tokenizer. A reward model that keeps nothing
            reads so many, and the prompt once a text; one that keeps prefixes reads fewer.
        reward_seconds: Wall time of the reward.
        seconds: Wall time of the search, the reward's included and the gold's not.
    """

    decoded: int = 0
    prefilled: int = 0
    reused: int = 0
    judged: int = 0
    judgings: int = 0
    judged_tokens: int = 0
    reward_seconds: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        mine, theirs = asdict(self), asdict(other)
        return Cost(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class Record:
    """One run: one prompt, one search, one seed.

    Attributes:
        prompt: Key of the prompt.
        search: Digest of the search's configuration, or `POOL`.
        label: The search's name in tables.
        configuration: The search's class and fields.
        seed: Of the comparison; the run's own follows from it and the prompt.
        answers: One a turn.
        cost: Of all turns.
        at_once: Runs that shared the machine; seconds mean little where it was above 1.
        pools: All samples by turn, best first; empty but for the pool.
    """

    prompt: str
    search: str
    label: str
    configuration: Mapping[str, Any]
    seed: int
    answers: tuple[Answer, ...]
    cost: Cost
    at_once: int = 1
    pools: tuple[tuple[Answer, ...], ...] = ()

    @property
    def key(self) -> RunKey:
        """The identity of the run within the comparison."""
        return RunKey(self.prompt, self.search, self.seed)

    @property
    def reward(self) -> float:
        """Mean over turns."""
        return math.fsum(answer.reward for answer in self.answers) / len(self.answers)

    @property
    def gold(self) -> float:
        """Mean over turns."""
        return math.fsum(answer.gold for answer in self.answers) / len(self.answers)


@dataclass(frozen=True)
class Failure:
    """A run that raised; it is tried again when the comparison goes on."""

    prompt: str
    search: str
    label: str
    seed: int
    error: str

    @property
    def key(self) -> RunKey:
        """The identity of the run within the comparison."""
        return RunKey(self.prompt, self.search, self.seed)


@dataclass(frozen=True)
class ComparisonPlan:
    """What was asked for.

    Attributes:
        searches: Digest by label, in the order of the tables.
        prompts: Keys.
        seeds: Of the comparison.
    """

    searches: Mapping[str, str]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def keys(self) -> list[RunKey]:
        """Every run of the plan, the pool's among them, seed by seed and prompt by prompt.

        So what is there of an unfinished comparison treats all searches alike.
        """
        digests = (POOL, *self.searches.values())
        return [RunKey(key, digest, seed) for seed in self.seeds for key in self.prompts for digest in digests]


@dataclass(frozen=True)
class Records:
    """A file of records.

    Attributes:
        header: Settings that all runs share, and names for people.
        plan: The last one, or None before the first.
        done: Runs that ended.
        failed: Runs that raised and have not succeeded since, with the last error.
    """

    header: Mapping[str, Any]
    plan: ComparisonPlan | None = None
    done: Mapping[RunKey, Record] = field(default_factory=dict)
    failed: Mapping[RunKey, Failure] = field(default_factory=dict)


def read_records(out: str | Path) -> Records:
    """The records of a comparison, finished or not; a last line that was cut short is left out.

    Args:
        out: The folder that was given to the comparison.

    Raises:
        ConfigurationError: There are no records, or a line is not one.
    """
    path = Path(out) / FILE_NAME
    if not path.is_file():
        raise ConfigurationError(f"{str(path)!r} does not exist; give the folder of an existing comparison")
    return parse_records(path, path.read_bytes())


def parse_records(path: Path, content: bytes) -> Records:
    """The records that the content of a file holds; `path` is for errors."""
    header: dict[str, Any] = {}
    plan, done, failed = None, dict[RunKey, Record](), dict[RunKey, Failure]()
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            made = _from_json(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise ConfigurationError(f"{path}, line {number} is not a record ({what}); give a new folder") from error
        match made:
            case Record():
                done[made.key] = made
                failed.pop(made.key, None)
            case Failure():
                failed[made.key] = made
            case ComparisonPlan():
                plan = made
            case _:
                header = made
    return Records(header, plan, done, failed)


def to_json(line: Record | Failure | ComparisonPlan | Mapping[str, Any]) -> str:
    """One line of the file, without its end."""
    if isinstance(line, Record):
        facts = {"kind": "run", **asdict(line)}
        if not line.pools:
            del facts["pools"]
    elif isinstance(line, Failure):
        facts = {"kind": "failure", **asdict(line)}
    elif isinstance(line, ComparisonPlan):
        facts = {"kind": "plan", **asdict(line)}
    else:
        facts = {"kind": "header", "format": FORMAT, **line}
    return json.dumps(facts, ensure_ascii=False)


def _from_json(facts: dict[str, Any]) -> Record | Failure | ComparisonPlan | dict[str, Any]:
    kind = facts.pop("kind")
    if kind == "run":
        answers, cost, pools = facts.pop("answers"), Cost(**facts.pop("cost")), facts.pop("pools", [])
        return Record(**facts, answers=_answers(answers), cost=cost, pools=tuple(map(_answers, pools)))
    if kind == "failure":
        return Failure(**facts)
    if kind == "plan":
        return ComparisonPlan(facts["searches"], tuple(facts["prompts"]), tuple(facts["seeds"]))
    if kind != "header" or facts.pop("format") != FORMAT:
        raise ValueError(f"kind {kind!r} of another version")
    return facts


def _answers(answers: Iterable[Mapping[str, Any]]) -> tuple[Answer, ...]:
    return tuple(Answer(**answer) for answer in answers)
