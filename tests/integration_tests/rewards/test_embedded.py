"""Rewards that ask a model, on the embedded one."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_darwin.rewards import Judge, PreferenceReward, as_reward, fit_preference_reward
from tests.unit_tests.rewards.test_docs import BLOCKS, FITTING, names_of

QUESTION = [HumanMessage("What is the capital of France?")]
ANSWERS = [AIMessage("Paris."), AIMessage("I do not know, and I do not care."), AIMessage("")]


@pytest.mark.parametrize("block", [block for block in BLOCKS if FITTING in block])
def test_a_block_of_the_docs_runs(block, capsys):
    names_of(block)
    assert float(capsys.readouterr().out) > 0.5


def test_a_fitted_reward_comes_back_with_the_same_scores(tmp_path):
    pairs = [
        {"prompt": f"Human: What is {n} plus 1?\n\nAssistant:", "chosen": f"{n + 1}.", "rejected": f"Who wants {n}?"}
        for n in range(8)
    ]
    reward = fit_preference_reward(pairs, folder=tmp_path, folds=2, dtype="float32")
    loaded = PreferenceReward.load(tmp_path)

    assert (loaded.weight == reward.weight).all()
    assert loaded(QUESTION, ANSWERS) == pytest.approx(reward(QUESTION, ANSWERS), abs=1e-3)


def test_the_policy_grades_within_the_scale(embedded_policy):
    reward = as_reward(Judge("self", scale=(1, 10))).bind(embedded_policy)
    scores = reward.score(QUESTION, ANSWERS)

    assert all(1 <= score <= 10 for score in scores)
    assert reward.score(QUESTION, ANSWERS[:1]) == pytest.approx(scores[:1], abs=1e-3)
