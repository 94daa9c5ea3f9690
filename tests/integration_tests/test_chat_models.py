"""ChatDarwin on the embedded model: equal to plain decoding, and to itself in every way of calling it."""

from __future__ import annotations

import pytest
import torch

from langchain_darwin import BestOfN, ChatDarwin, Darwin
from langchain_darwin.errors import ContextOverflowError, ModelNotFound
from langchain_darwin.rewards import LengthWindow

QUESTION = "Name three colours of the rainbow."


def chat(policy, **fields):
    defaults = {
        "model": policy,
        "reward": LengthWindow(10, 20),
        "search": Darwin(beams=3, keep=1, period=6, mutation="none"),
        "max_tokens": 18,
        "seed": 3,
    }
    return ChatDarwin(**{**defaults, **fields})


def test_one_greedy_beam_is_what_generate_writes(embedded_policy):
    answer = chat(embedded_policy, search=BestOfN(n=1), temperature=0, max_tokens=24).invoke(QUESTION)
    model, codec = embedded_policy._load().model, embedded_policy.codec
    prompt = torch.tensor([codec.encode_chat([{"role": "user", "content": QUESTION}])])
    with torch.inference_mode():
        tokens = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=24,
            pad_token_id=0,
        )
    assert answer.text == codec.decode(tokens[0, prompt.shape[1] :].tolist())


async def test_every_way_of_calling_gives_the_same_answer(embedded_policy):
    model = chat(embedded_policy)
    answer = model.invoke(QUESTION)
    assert (await model.ainvoke(QUESTION)).text == answer.text
    assert "".join(chunk.text for chunk in model.stream(QUESTION)) == answer.text
    assert "".join([chunk.text async for chunk in model.astream(QUESTION)]) == answer.text


def test_a_batch_equals_one_by_one(embedded_policy):
    model = chat(embedded_policy)
    questions = [QUESTION, "What is a river?", "Say hello in French."]
    assert [answer.text for answer in model.batch(questions)] == [model.invoke(each).text for each in questions]


def test_another_seed_gives_another_answer(embedded_policy):
    assert chat(embedded_policy).invoke(QUESTION).text != chat(embedded_policy, seed=4).invoke(QUESTION).text


@pytest.mark.slow
def test_the_published_method_runs_on_a_real_model(embedded_policy):
    paper = Darwin.paper()
    answer = chat(embedded_policy, search=paper, max_tokens=8, temperature=0.7).invoke(QUESTION)
    facts = answer.response_metadata["darwin"]
    assert (facts["cycles"], facts["complete"]) == (3, True)
    assert facts["reward"] >= facts["seed_answer_reward"]


def test_the_default_reward_is_the_models_own_judgement(embedded_policy):
    answer = ChatDarwin(model=embedded_policy, search=BestOfN(n=2), max_tokens=6, seed=1).invoke(QUESTION)
    assert isinstance(answer.response_metadata["darwin"]["reward"], float)


def test_a_model_that_is_not_there_is_named(embedded_policy):
    with pytest.raises(ModelNotFound, match="no-such/model"):
        ChatDarwin(model="no-such/model").invoke(QUESTION)
    assert chat(embedded_policy).invoke(QUESTION).text


def test_a_prompt_longer_than_the_context_is_refused_and_the_next_one_answered(embedded_policy):
    model = chat(embedded_policy)
    with pytest.raises(ContextOverflowError, match="holds 8192 of prompt and answer together"):
        model.invoke("word " * 9000)
    assert model.invoke(QUESTION).text
