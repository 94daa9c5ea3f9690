"""`SelfReward` on a scripted policy: what it asks, and the log-odds it makes of the answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.errors import ConfigurationError, ContextOverflowError, UnsupportedModelError
from langchain_darwin.policies.base import Proposal
from langchain_darwin.rewards import as_reward
from langchain_darwin.rewards.judges.self_reward import SelfReward

QUESTION = [HumanMessage("Name a colour.")]
ANSWERS = [AIMessage("Red."), AIMessage("Seven.")]
SPELLINGS = ["Yes", " Yes", "no", "No"]  # the single tokens of the scripted policy: 0x110000 and on
FIRST = 0x110000


class Letters:
    """A codec whose tokens are characters, and the spellings."""

    def __init__(self, spellings: Sequence[str] = SPELLINGS) -> None:
        self.spellings = spellings

    def encode_chat(self, conversation: Sequence[Mapping[str, Any]], tools: Any = ()) -> tuple[int, ...]:
        return tuple(map(ord, conversation[0]["content"]))

    def encode_text(self, text: str) -> tuple[int, ...]:
        return (FIRST + self.spellings.index(text),) if text in self.spellings else tuple(map(ord, text))


class Opinionated:
    """A policy that is sure of Yes about answers with "Red" and undecided about all others."""

    name = "opinionated"
    context_length = 600

    def __init__(self, spellings: Sequence[str] = SPELLINGS) -> None:
        self.codec = Letters(spellings)
        self.asked: list[str] = []

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.name}

    def propose(self, prefixes: Sequence[tuple[int, ...]], k: int, among: Any = None) -> Future[list[Proposal]]:
        texts = ["".join(map(chr, prefix)) for prefix in prefixes]
        self.asked += texts
        future: Future[list[Proposal]] = Future()
        future.set_result([self._proposal("Red" in text, sorted(among)) for text in texts])
        return future

    def _proposal(self, likes: bool, among: list[int]) -> Proposal:
        yes, no = (0.4, 0.1) if likes else (0.2, 0.2)
        chances = [yes if "es" in self.codec.spellings[token - FIRST] else no for token in among]
        return Proposal(tuple(among), tuple(math.log(chance) for chance in chances))


def test_scores_are_log_odds_over_all_spellings() -> None:
    reward = as_reward("self").bind(Opinionated())

    expected = pytest.approx([math.log(0.8 / 0.2), 0.0])
    assert reward.score(QUESTION, ANSWERS) == expected
    assert asyncio.run(reward.ascore(QUESTION, ANSWERS)) == expected


def test_the_policy_reads_conversation_answer_and_question_in_that_order() -> None:
    policy = Opinionated()
    SelfReward("Is it true? Yes or No.", policy)(QUESTION, ANSWERS[:1])

    prompt = (
        "Read this conversation and the answer that an assistant gave.\n\n"
        "[Conversation]\nName a colour.\n\n[Answer]\nRed.\n\nIs it true? Yes or No."
    )
    assert policy.asked == [prompt]


def test_tool_calls_are_shown_to_the_judge() -> None:
    policy = Opinionated()
    call = {"name": "paint", "args": {"colour": "Red"}, "id": "1"}
    SelfReward(policy=policy)(QUESTION, [AIMessage("", tool_calls=[call])])

    assert '{"tool": "paint", "args": {"colour": "Red"}}' in policy.asked[0]


def test_a_conversation_too_long_loses_its_beginning() -> None:
    policy = Opinionated()
    SelfReward(policy=policy)([HumanMessage("blah " * 300 + "Name a colour.")], ANSWERS[:1])

    assert len(policy.asked[0]) < policy.context_length
    assert "blah Name a colour.\n\n[Answer]\nRed." in policy.asked[0]


def test_an_answer_too_long_to_judge_is_refused() -> None:
    with pytest.raises(ContextOverflowError, match="more than the context of 600; lower max_tokens"):
        SelfReward(policy=Opinionated())(QUESTION, [AIMessage("Red. " * 200)])


def test_without_a_policy_there_is_nobody_to_ask() -> None:
    with pytest.raises(ConfigurationError, match="has no policy to ask: give it to ChatDarwin, or pass policy="):
        as_reward("self").score(QUESTION, ANSWERS)


def test_a_policy_of_its_own_is_kept() -> None:
    own = SelfReward(policy=Opinionated())

    assert own.bind(Opinionated()) is own


def test_unfinished_text_is_judged_only_if_asked_for() -> None:
    assert as_reward("self").partial is False
    assert as_reward(SelfReward(partial=True)).partial is True


def test_a_model_without_tokens_for_yes_and_no_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="'opinionated' has no single tokens for Yes and No"):
        SelfReward(policy=Opinionated(["Yes"]))(QUESTION, ANSWERS)


def test_question_and_policy_make_the_identity() -> None:
    other = as_reward(SelfReward("Is it short? Yes or No."))

    facts = {"reward": "SelfReward", "question": "Is it short? Yes or No.", "partial": False}
    assert other.identity() == facts
    assert other.bind(Opinionated()).identity()["policy"] == {"model": "opinionated"}
    assert other.identity() != as_reward("self").identity()
