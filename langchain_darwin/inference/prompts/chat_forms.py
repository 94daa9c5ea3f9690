"""A conversation in other forms, for chat templates that refuse it as it is or leave out some of its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

Turn = dict[str, Any]
Turns = list[Turn]

_KNOWN = ("system", "user", "assistant", "tool")


def forms(turns: Turns) -> Iterator[Turns]:
    """Yield the conversation as it is, then ever more changed towards what strict templates take.

    Text stays in its order and nothing is added. Turns of one role are joined. System texts and those of
    unknown roles become a user's. An assistant's calls become turns of their own. Texts become lists of one part.
    """
    seen: list[Turns] = []
    for content in (_as_it_is, in_parts):
        for calls in (_as_it_is, _one_call_a_turn):
            for roles in (_as_it_is, _merged, _one_system_turn, _without_system_turns, _plain_roles):
                form = content(roles(calls(turns)))
                if form not in seen:
                    seen.append(form)
                    yield form


def _as_it_is(turns: Turns) -> Turns:
    return turns


def _merged(turns: Turns) -> Turns:
    """Neighbouring turns of one role, with a blank line between."""
    merged: Turns = []
    for turn in turns:
        if merged and _mergeable(merged[-1], turn):
            merged[-1] = {**merged[-1], "content": f"{merged[-1]['content']}\n\n{turn['content']}"}
        else:
            merged.append(turn)
    return merged


def _mergeable(first: Turn, second: Turn) -> bool:
    plain = all(isinstance(turn.get("content"), str) and not turn.get("tool_calls") for turn in (first, second))
    return plain and first.get("role") == second.get("role") and first.get("role") != "tool"


def _one_system_turn(turns: Turns) -> Turns:
    return _merged(turns[:1] + _as_user(turns[1:], lambda role: role == "system"))


def _without_system_turns(turns: Turns) -> Turns:
    return _merged(_as_user(turns, lambda role: role == "system"))


def _plain_roles(turns: Turns) -> Turns:
    return _merged(_as_user(turns, lambda role: role == "system" or role not in _KNOWN))


def _as_user(turns: Turns, chosen: Callable[[Any], bool]) -> Turns:
    return [{**turn, "role": "user"} if chosen(turn.get("role")) else turn for turn in turns]


def in_parts(turns: Turns) -> Turns:
    """Return turns with texts as lists of one text part, which some templates want."""
    return [{**turn, "content": _parts(turn["content"])} if "content" in turn else turn for turn in turns]


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _one_call_a_turn(turns: Turns) -> Turns:
    """Each call in a turn of its own, with its result behind it; the first has the turn's text."""
    single: Turns = []
    rest = list(turns)
    while rest:
        turn = rest.pop(0)
        if len(turn.get("tool_calls") or ()) < 2:
            single.append(turn)
            continue
        results = list(takewhile(lambda after: after.get("role") == "tool", rest))
        single += _split(turn, results)
        del rest[: len(results)]
    return single


def _split(turn: Turn, results: Turns) -> Turns:
    """One turn a call, each with the first result of its id that is left; then what no call asked for."""
    split, left = [], list(results)
    for at, call in enumerate(turn["tool_calls"]):
        split.append({**(_without_text(turn) if at else turn), "tool_calls": [call]})
        own = next((result for result in left if result.get("tool_call_id") == call.get("id")), None)
        if own is not None:
            left.remove(own)
            split.append(own)
    return split + left


def _without_text(turn: Turn) -> Turn:
    return {key: value for key, value in turn.items() if key != "reasoning_content"} | {"content": ""}
