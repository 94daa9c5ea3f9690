"""Fitted preference rewards on tiny models: they learn, are saved, and come back the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_darwin import ChatDarwin, Darwin
from langchain_darwin.errors import ConfigurationError, ContextOverflowError, ModelNotFound
from langchain_darwin.inference.loading import load_model
from langchain_darwin.rewards import PreferenceReward, as_reward, fit_preference_reward
from langchain_darwin.rewards.models.features import Features
from langchain_darwin.rewards.models.preference import conversation, read_pairs
from langchain_darwin.testing import ScriptedPolicy
from tests.tiny_models import cached_tiny_model

QUESTION = [HumanMessage("What is the capital of France?")]
ANSWERS = [AIMessage("Paris."), AIMessage("The lazy dog jumps over the fox. " * 5), AIMessage("")]
PAIRS = [
    {"prompt": f"ProposalRequest {n}", "chosen": f"Paris is fine {n}.", "rejected": f"the dog {n} the dog the dog"}
    for n in range(20)
]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    return fit(folder), folder


def fit(folder, pairs=PAIRS, family="llama", **settings):
    model = cached_tiny_model(family)
    return fit_preference_reward(pairs, model, folder=folder, dtype="float32", device="cpu", **settings)


def test_it_learns_what_is_preferred(fitted):
    reward, _ = fitted

    assert reward.facts["accuracy"] > 0.9
    assert reward.facts["pairs"] == 20
    better, worse = reward(QUESTION, [AIMessage("Paris is fine 77."), AIMessage("the dog 77 the dog the dog")])
    assert better > worse


def test_it_comes_back_with_the_same_scores(fitted):
    reward, folder = fitted
    loaded = PreferenceReward.load(folder)

    assert (loaded.weight == reward.weight).all()
    assert (loaded.center == reward.center).all()
    assert loaded(QUESTION, ANSWERS) == pytest.approx(reward(QUESTION, ANSWERS), abs=1e-4)
    assert loaded.identity() == reward.identity()
    assert loaded.facts == reward.facts
    assert sorted(path.name for path in folder.iterdir()) == ["head.safetensors", "preference_reward.json"]


def test_the_same_pairs_give_the_same_reward(fitted, tmp_path):
    assert fit(tmp_path).weight.tolist() == pytest.approx(fitted[0].weight.tolist(), rel=1e-3, abs=1e-6)


def test_other_pairs_give_another_identity(fitted, tmp_path):
    turned = [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in PAIRS]

    assert fit(tmp_path, turned).identity() != fitted[0].identity()


def test_it_guides_a_search(fitted):
    reward, _ = fitted
    model = ChatDarwin(model=ScriptedPolicy(length=10), reward=reward, search=Darwin(beams=2, keep=1, period=5), seed=1)

    assert model.invoke("Say something.").response_metadata["darwin"]["judged"] > 2
    assert as_reward(reward).partial is True


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "qwen3_5"])
@pytest.mark.parametrize("layer", [2, 4])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_features_are_the_pooled_hidden_states_of_the_full_model(family, layer, pooling):
    loaded = load_model(cached_tiny_model(family), dtype="float32", device="cpu")
    found = Features(loaded, layer, pooling).read(QUESTION, ANSWERS)

    for answer, row in zip(ANSWERS, found, strict=True):
        assert row == pytest.approx(full_forward(loaded, answer, layer, pooling), abs=1e-3)


@torch.inference_mode()
def full_forward(loaded, answer, layer, pooling):
    """Hidden states of the answer's turn, before the final norm, which transformers applies to the last layer."""
    turns = [{"role": "user", "content": QUESTION[0].text}]
    end = loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
    question = loaded.codec.encode_chat(turns)
    ids = (*question, *loaded.codec.encode_text(answer.text), end)
    kept = {}
    hook = loaded.model.base_model.layers[layer - 1].register_forward_hook(
        lambda module, arguments, output: kept.update(hidden=output[0] if isinstance(output, tuple) else output)
    )
    loaded.model.base_model(torch.tensor([ids]), use_cache=False)
    hook.remove()
    states = kept["hidden"][0].numpy()
    return states[-1] if pooling == "last" else states[len(question) :].mean(axis=0)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_what_is_remembered_does_not_change_the_features(pooling):
    loaded = load_model(cached_tiny_model("llama"), dtype="float32", device="cpu")
    features = Features(loaded, None, pooling)
    grown = [AIMessage(ANSWERS[1].text[:40]), ANSWERS[1], AIMessage(ANSWERS[1].text[:40] + "And more.")]
    follow_up = [*QUESTION, ANSWERS[0], HumanMessage("And of Spain?")]
    for answer in grown:
        features.read(QUESTION, [answer])
        features.read(follow_up, [answer])

    for messages in (QUESTION, follow_up):
        fresh = Features(loaded, None, pooling).read(messages, grown)
        assert features.read(messages, grown) == pytest.approx(fresh, abs=1e-4)


def test_text_that_has_grown_is_read_from_where_it_ended():
    features = Features(load_model(cached_tiny_model("llama"), dtype="float32", device="cpu"), None)
    features.read(QUESTION, ANSWERS[1:2])
    before = features.tokens_processed
    features.read(QUESTION, [AIMessage(ANSWERS[1].text + "And more.")])

    assert features.tokens_processed - before < before / 3


def test_the_shared_model_keeps_its_layers():
    loaded = load_model(cached_tiny_model("llama"), dtype="float32", device="cpu")
    Features(loaded, 1).read(QUESTION, ANSWERS)

    assert len(loaded.model.base_model.layers) == 4
    assert not isinstance(loaded.model.base_model.norm, torch.nn.Identity)


def test_no_answers_have_no_features():
    features = Features(load_model(cached_tiny_model("llama"), dtype="float32", device="cpu"), None)

    assert features.read(QUESTION, []).shape == (0, features.width)


def test_an_answer_too_long_to_read_is_refused():
    features = Features(load_model(cached_tiny_model("llama"), dtype="float32", device="cpu"), None)

    with pytest.raises(ContextOverflowError, match="lower max_tokens"):
        features.read(QUESTION, [AIMessage("fox " * 600)])


def test_a_layer_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="layer=9 must be between 1 and the number of layers, 4"):
        fit(tmp_path, layer=9)


def test_an_unknown_pooling_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="pooling='max' must be one of 'mean', 'last'"):
        fit(tmp_path, pooling="max")


def test_pairs_come_from_a_file_too(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)) + "\n\n")

    assert read_pairs(path) == read_pairs(str(path)) == PAIRS


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        (PAIRS[:4], "4 pairs are too few for folds=5; pass at least 10"),
        ([{"prompt": "a", "chosen": "b"}], "pair 1 must have prompt, chosen and rejected"),
        ([{"prompt": "a", "chosen": "b", "rejected": 3}], "pair 1 must have prompt, chosen and rejected"),
        ("/no/such/file.jsonl", "is not a file of JSON lines"),
    ],
)
def test_pairs_that_are_none_are_refused(pairs, complaint, tmp_path):
    with pytest.raises(ConfigurationError, match=complaint):
        fit(tmp_path, pairs)


def test_a_folder_without_a_reward_is_refused(tmp_path):
    with pytest.raises(ModelNotFound, match=r"holds no preference_reward.json and head.safetensors"):
        PreferenceReward.load(tmp_path)


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ("Why?", [("human", "Why?")]),
        ("Human: Why?\n\nAssistant: So.\n\nHuman: Oh.", [("human", "Why?"), ("ai", "So."), ("human", "Oh.")]),
        ("\n\nHuman: Why?\n\nAssistant:", [("human", "Why?")]),
        ("Tell me about Human: rights", [("human", "Tell me about Human: rights")]),
        ([SystemMessage("Be brief."), ("user", "Why?")], [("system", "Be brief."), ("human", "Why?")]),
        ([{"role": "user", "content": "Why?"}], [("human", "Why?")]),
    ],
)
def test_prompts_are_texts_turns_or_messages(prompt, messages):
    assert [(message.type, message.text) for message in conversation(prompt)] == messages


def test_several_strengths_are_chosen_from(tmp_path):
    assert fit(tmp_path, l2=[1.0, 1e9]).facts["l2"] == 1.0
    assert np.abs(fit(tmp_path, l2=1e9).weight).max() < 1e-3


def test_texts_of_a_file_may_hold_characters_that_end_lines_elsewhere(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pairs = [{"prompt": "Hello?", "chosen": "one\u2028two\x85three", "rejected": "no"}] * 2
    path.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs), encoding="utf-8")
    assert read_pairs(path) == pairs
