"""`RewardModel` on tiny random models: the scores are transformers' own, and growing text costs what is new."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import (
    ConfigurationError,
    ContextOverflowError,
    ModelNotFound,
    PolicyError,
    UnsupportedModelError,
)
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.rewards import Matches, PreferenceReward, RewardModel, Veto, as_reward
from langchain_darwin.rewards.models.preference import Backbone
from langchain_darwin.testing import ScriptedPolicy
from tests.tiny_models import CHATML, GEMMA, cached_tiny_model, tiny_config, tiny_tokenizer

QUESTION = [HumanMessage("What is the capital of France?")]
TEXT = "Paris is the capital of France, and the quick brown fox jumps over the lazy dog every single day. " * 4
ANSWERS = [AIMessage("Paris."), AIMessage(TEXT), AIMessage("The lazy dog."), AIMessage("")]


def saved(family: str, template: str | None = CHATML, **settings: Any) -> Path:
    """A random sequence-classification model of `family` in a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=scratch().name))
    tokenizer = tiny_tokenizer(template)
    config = bert_config() if family == "bert" else tiny_config(family)
    for key, value in {"num_labels": 1, **settings}.items():
        setattr(config, key, value)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bert_config() -> Any:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": 0, "vocab_size": len(tiny_tokenizer(None)), "max_position_embeddings": 256}
    return AutoConfig.for_model("bert", initializer_range=0.2, **sizes, **ids)


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-rewards-")


def reward_model(folder: Path, **settings: Any) -> RewardModel:
    return RewardModel(folder, dtype="float32", device="cpu", **settings)


@torch.inference_mode()
def full_forward(folder: Path, answer: AIMessage) -> float:
    """transformers' own score of the chat, one text, nothing cached."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    chat = [
        {"role": "user", "content": QUESTION[0].text},
        {"role": "assistant", "content": answer.text},
    ]
    ids = tokenizer.apply_chat_template(chat, return_dict=False, return_tensors="pt")
    return float(model(ids).logits[0, 0])


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma3", "qwen3_5"])
def test_scores_are_those_of_the_full_forward(family: str) -> None:
    folder = saved(family)
    expected = [full_forward(folder, answer) for answer in ANSWERS]

    assert reward_model(folder)(QUESTION, ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_text_that_grows_gets_the_same_scores_as_text_read_at_once() -> None:
    folder = saved("llama")
    words = TEXT.split()
    prefixes = [AIMessage(" ".join(words[:end])) for end in range(5, len(words), 12)]
    model = reward_model(folder)

    grown = [model(QUESTION, [prefix])[0] for prefix in prefixes]

    assert grown == pytest.approx([full_forward(folder, prefix) for prefix in prefixes], abs=1e-4)


def test_text_that_grows_costs_little_more_than_its_length() -> None:
    folder = saved("llama")
    words = TEXT.split()
    tokenizer = tiny_tokenizer(CHATML)
    length = len(tokenizer.encode(TEXT))
    model = reward_model(folder)

    for end in range(8, len(words) + 1, 8):
        model(QUESTION, [AIMessage(" ".join(words[:end]))])

    prompt = len(tokenizer.encode(QUESTION[0].text)) + 20
    assert model.tokens_processed <= 1.2 * length + prompt


def test_answers_to_one_question_share_its_computation() -> None:
    model = reward_model(saved("llama"))
    question = [HumanMessage(TEXT)]

    model(question, [AIMessage("Paris.")])
    first = model.tokens_processed
    model(question, [AIMessage("Berlin."), AIMessage("Rome.")])

    assert model.tokens_processed - first < first / 4


def test_a_batch_equals_one_by_one() -> None:
    folder = saved("llama")
    alone = [reward_model(folder, batch_size=1)(QUESTION, [answer])[0] for answer in ANSWERS]

    assert reward_model(folder, batch_size=3)(QUESTION, ANSWERS) == pytest.approx(alone, abs=1e-5)


def test_a_template_that_writes_bos_gets_one_bos() -> None:
    folder = saved("llama", GEMMA.replace("bos_token", "'<bos>'"))
    expected = [full_forward(folder, answer) for answer in ANSWERS]

    assert reward_model(folder)(QUESTION, ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_a_template_without_system_role_reads_the_system_text_before_the_question() -> None:
    folder = saved("llama", GEMMA.replace("bos_token", "'<bos>'"))
    model = reward_model(folder)
    joined = model([HumanMessage("Be brief.\n\nHi")], ANSWERS)

    assert model([SystemMessage("Be brief."), HumanMessage("Hi")], ANSWERS) == pytest.approx(joined, abs=1e-5)


def test_padding_that_is_also_the_end_token_is_read_as_transformers_reads_it() -> None:
    folder = saved("llama", CHATML.replace("<|im_end|>\n", "<|im_end|>"), pad_token_id=2)
    expected = [full_forward(folder, answer) for answer in ANSWERS]

    assert reward_model(folder)(QUESTION, ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_an_encoder_without_chat_template_reads_question_and_answer_as_a_pair() -> None:
    folder = saved("bert", template=None)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        pairs = [tokenizer(QUESTION[0].text, answer.text, return_tensors="pt") for answer in ANSWERS]
        expected = [float(network(pair["input_ids"]).logits[0, 0]) for pair in pairs]

    assert reward_model(folder)(QUESTION, ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_of_several_labels_the_log_odds_of_one_are_the_score() -> None:
    folder = saved("bert", template=None, num_labels=2)
    first, second = (reward_model(folder, label=label)(QUESTION, ANSWERS) for label in (0, "LABEL_1"))

    assert first == pytest.approx([-score for score in second], abs=1e-5)


def test_several_labels_without_a_choice_are_refused() -> None:
    message = r"label=None: .* has several outputs; choose one of \['LABEL_0', 'LABEL_1'\]"
    with pytest.raises(ConfigurationError, match=message):
        reward_model(saved("bert", template=None, num_labels=2))(QUESTION, ANSWERS)


@pytest.mark.parametrize("template", [CHATML, GEMMA.replace("bos_token", "'<bos>'")])
def test_the_oldest_turns_are_dropped_where_the_conversation_is_too_long(template: str) -> None:
    model = reward_model(saved("llama", template))
    system, long = SystemMessage("Be brief."), HumanMessage(TEXT * 9)
    history = [system, HumanMessage("Hi."), AIMessage("Hi!"), long, AIMessage("So.")]
    shortened = model([system, *QUESTION], ANSWERS[:1])

    assert model([*history, *QUESTION], ANSWERS[:1]) == pytest.approx(shortened, abs=1e-5)


def test_an_answer_too_long_for_the_model_is_refused() -> None:
    message = "more than the 512 that reward model .* can read; lower max_tokens"
    with pytest.raises(ContextOverflowError, match=message):
        reward_model(saved("llama"))(QUESTION, [AIMessage(TEXT * 9)])


def test_a_causal_model_is_refused_since_its_head_would_be_random() -> None:
    with pytest.raises(UnsupportedModelError, match=r"is not a reward model: its files lack score.weight"):
        reward_model(cached_tiny_model("llama"))(QUESTION, ANSWERS)


def test_a_decoder_without_chat_template_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="has no chat template"):
        reward_model(saved("llama", template=None))(QUESTION, ANSWERS)


def test_a_missing_folder_is_refused_when_first_used() -> None:
    model = RewardModel("/nowhere/to/be/found")

    with pytest.raises(ModelNotFound):
        model(QUESTION, ANSWERS)


@pytest.mark.parametrize(
    "reward",
    [
        "/nowhere/to/be/found",
        RewardModel("/nowhere/to/be/found"),
        [("/nowhere/to/be/found"), Matches("a")],
        Veto("/nowhere/to/be/found", unless=Matches("a")),
        Veto(Matches("a"), unless="/nowhere/to/be/found"),
        PreferenceReward(Backbone("/nowhere/to/be/found", 1), np.zeros(2), np.zeros(2)),
    ],
    ids=["name", "model", "list", "vetoed", "constraint", "preference"],
)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_reward_that_cannot_be_loaded_is_an_error_before_the_first_token(reward: Any, way: str) -> None:
    asked: list[str] = []
    policy = ScriptedPolicy(lambda conversation, tools: asked.append(conversation))
    model = ChatDarwin(model=policy, reward=reward, search=BestOfN(n=2), max_tokens=8)

    async def all_of(stream: Any) -> list[Any]:
        return [chunk async for chunk in stream]

    ways: dict[str, Any] = {
        "invoke": lambda: model.invoke("Hello"),
        "ainvoke": lambda: asyncio.run(model.ainvoke("Hello")),
        "stream": lambda: list(model.stream("Hello")),
        "astream": lambda: asyncio.run(all_of(model.astream("Hello"))),
    }
    with pytest.raises(ModelNotFound, match="/nowhere/to/be/found"):
        ways[way]()
    assert asked == []


def test_a_model_that_leaves_no_memory_to_compute_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    folder = saved("llama")
    monkeypatch.setattr(KVSlots, "read", no_room)

    with pytest.raises(PolicyError, match=rf"{folder.name}.* leaves none to compute with; free what else"):
        reward_model(folder).bind(None)


@pytest.mark.parametrize(("label", "labels"), [(None, 1), (0, 3), (2, 3)])
def test_the_scores_of_a_batch_are_fetched_at_once(label: int | None, labels: int) -> None:
    class Counting(torch.overrides.TorchFunctionMode):
        fetches = 0

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.fetches += getattr(function, "__name__", "") == "cpu"
            return function(*args, **(kwargs or {}))

    classifier = reward_model(saved("bert", template=None, num_labels=labels), label=label)._classifier()
    logits = torch.randn(5, labels)
    with Counting() as counting:
        scores = classifier._numbers(logits)

    at = label or 0
    others = [row[[i for i in range(labels) if i != at]] for row in logits]
    expected = [
        row[at] - (other.logsumexp(0) if label is not None else 0) for row, other in zip(logits, others, strict=True)
    ]
    assert scores == pytest.approx([float(score) for score in expected])
    assert counting.fetches == 1


def test_equal_settings_share_one_loaded_model() -> None:
    folder = saved("llama")

    assert reward_model(folder)._classifier() is reward_model(folder)._classifier()


def test_models_with_different_files_or_settings_have_different_identities() -> None:
    folder, other = saved("llama"), saved("llama", num_labels=2)
    models = [reward_model(folder), reward_model(other), reward_model(other, label=1), RewardModel("a/b")]
    names = {str(model.identity()) for model in models}

    assert len(names) == 4
    assert reward_model(folder).identity() == reward_model(folder).identity()


def test_a_string_is_a_reward_model() -> None:
    assert as_reward("org/model").judge == RewardModel("org/model")
    assert as_reward("org/model").name == "model"
