"""Every reward keeps to the contract, and no two of them look the same to a cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from langchain_darwin.rewards import (
    Classify,
    Complete,
    Ensemble,
    Json,
    Judge,
    Keywords,
    LengthCorrected,
    LengthWindow,
    Lexicographic,
    LogprobFloor,
    Matches,
    NoRefusal,
    Normalized,
    NotDegenerate,
    Pairs,
    PreferenceReward,
    RemoteReward,
    RepetitionPenalty,
    RewardModel,
    SelfReward,
    ValidJson,
    Veto,
    WeightedSum,
    as_reward,
    fit_preference_reward,
    per_response,
    trl_reward,
)
from langchain_darwin.testing import keyword_reward
from langchain_darwin.testing.contracts import RewardContract
from tests.reward_server import reward_server
from tests.tiny_models import cached_tiny_model
from tests.unit_tests.rewards.models.test_reward_model import saved


def lengths(messages, responses):
    return [len(response.text) for response in responses]


async def vowels(messages, responses):
    return [sum(letter in "aeiou" for letter in response.text) for response in responses]


@per_response
def words(messages, response):
    return len(response.text.split())


@per_response(partial=False)
async def lines(messages, response):
    return len(response.text.splitlines())


def commas(prompts, completions, weight, **columns):
    return [completion[0]["content"].count(",") * each for completion, each in zip(completions, weight, strict=True)]


def reply(prompt):
    return AIMessage(f"Score: {len(prompt) % 10 + 1}/10")


def letters(response):
    return len(response["response"].text)


MAKERS = {
    "function": lambda: lengths,
    "async function": lambda: vowels,
    "per response": lambda: words,
    "async per response": lambda: lines,
    "trl": lambda: trl_reward(commas, weight=2.0),
    "trl partial": lambda: as_reward(trl_reward(commas, weight=2.0), partial=True, min_tokens=8),
    "runnable": lambda: RunnableLambda(letters),
    "keyword_reward": lambda: keyword_reward("sea", "river"),
    "Complete": Complete,
    "Keywords": lambda: Keywords(("river",), forbidden=("no",)),
    "LengthWindow": lambda: LengthWindow(5, 10),
    "Matches": lambda: Matches("river"),
    "NoRefusal": NoRefusal,
    "NotDegenerate": NotDegenerate,
    "RepetitionPenalty": RepetitionPenalty,
    "ValidJson": ValidJson,
    "SelfReward": lambda: SelfReward(partial=True),
    "WeightedSum": lambda: WeightedSum([lengths, (0.5, vowels), (2, Matches("sea"))]),
    "Ensemble": lambda: Ensemble([lengths, vowels, words], pessimism=0.5),
    "Ensemble of finished": lambda: Ensemble([lines, lengths], on_error="drop"),
    "Veto": lambda: Veto(lengths, unless=[Matches("r"), Complete()]),
    "Lexicographic": lambda: Lexicographic(Matches("river"), vowels, lengths, tolerance=1, bounds=(-10, 200)),
    "Normalized": lambda: Normalized(lengths, mean=30, std=12.5),
    "LengthCorrected": lambda: LengthCorrected(vowels, slope=1.5),
    "LogprobFloor": lambda: LogprobFloor(lengths, floor=-1.5, weight=4),
    "Judge of the policy": lambda: Judge("self"),
    "Judge of a chat model": lambda: Judge(RunnableLambda(reply), partial=True),
    "nested": lambda: Veto(
        LogprobFloor(Normalized(LengthCorrected(lengths, slope=2), mean=1, std=2)), unless=Complete()
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
class TestPlain(RewardContract):
    @pytest.fixture(autouse=True)
    def _choose(self, kind):
        self.kind = kind

    def make(self):
        return MAKERS[self.kind]()


class TestRewardModel(RewardContract):
    tolerance = 1e-4

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _save(cls):
        cls.folder = saved("llama")

    def make(self):
        return RewardModel(self.folder, dtype="float32", device="cpu")


class TestPreferenceReward(RewardContract):
    tolerance = 1e-4

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _fit(cls):
        with tempfile.TemporaryDirectory() as folder:
            pairs = [{"prompt": f"Write {n}", "chosen": "river " * (n + 1), "rejected": "No."} for n in range(8)]
            model = cached_tiny_model("llama")
            fit_preference_reward(pairs, model, folder=folder, folds=2, dtype="float32", device="cpu")
            cls.folder = Path(folder)
            yield

    def make(self):
        return PreferenceReward.load(self.folder)


ENDPOINTS = {
    "classify": Classify("rm"),
    "pooling": Classify("rm", path="/pooling"),
    "score": Pairs("rm"),
    "json": Json({"messages": [{"content": "$answer"}]}, "data.0.probs.0", path="/judge"),
}


@pytest.mark.parametrize("kind", ENDPOINTS)
class TestRemoteReward(RewardContract):
    @pytest.fixture(autouse=True)
    def _serve(self, kind):
        self.endpoint = ENDPOINTS[kind]
        with reward_server() as server:
            self.uds = server.uds
            yield

    def make(self):
        return RemoteReward("http://rewards", self.endpoint, uds=self.uds, partial=True)


def test_no_two_rewards_have_the_same_identity():
    identities = [as_reward(make()).identity() for make in MAKERS.values()]
    assert all(identities.count(identity) == 1 for identity in identities)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Ensemble([lengths, words]), Ensemble([lengths, words], pessimism=2)),
        (Ensemble([lengths, words]), Ensemble([words, lengths])),
        (Veto(lengths, unless=Complete()), Veto(lengths, unless=Complete(), floor=-5)),
        (Veto(lengths, unless=Complete()), Veto(words, unless=Complete())),
        (Lexicographic(lengths, words), Lexicographic(lengths, words, tolerance=1)),
        (Normalized(lengths, mean=0, std=1), Normalized(lengths, mean=0, std=2)),
        (LengthCorrected(lengths, slope=1), LengthCorrected(lengths, slope=1, unit="lines")),
        (LogprobFloor(lengths), LogprobFloor(lengths, floor=-2)),
        (NotDegenerate(), NotDegenerate(truncated=False)),
        (Judge("self"), Judge("self", criteria="Is it short?")),
        (Judge("self"), Judge("self", scale=(0, 9))),
        (Judge(RunnableLambda(reply)), Judge(RunnableLambda(letters))),
        (RemoteReward("http://a", Pairs("m")), RemoteReward("http://b", Pairs("m"))),
        (RemoteReward("http://a", Pairs("m")), RemoteReward("http://a", Classify("m"))),
        (RemoteReward("http://a", Json({"a": 1}, "s")), RemoteReward("http://a", Json({"a": 2}, "s"))),
    ],
)
def test_every_setting_counts(one, other):
    assert as_reward(one).identity() != as_reward(other).identity()
