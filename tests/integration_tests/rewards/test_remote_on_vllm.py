"""`RemoteReward` on a real vLLM server that serves a reward model, against the same model in this process.

Both compute in float32, so that equal scores mean equal token ids: the server was sent the right text and put it
into the right template.
"""

from __future__ import annotations

import asyncio
import re
import threading

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from langchain_darwin import BestOfN, ChatDarwin, Darwin
from langchain_darwin.errors import RewardError
from langchain_darwin.rewards import Classify, Pairs, RemoteReward, RewardModel, as_reward
from langchain_darwin.search.base import Scored
from tests.faulty_peer import Answered, Cut, Delayed, faulty_peer
from tests.leaks import nothing_left
from tests.vllm_server import NAME, embedded_folder, serve, vllm_python

CHATS = {
    "one turn": [HumanMessage("Why is the sky blue?")],
    "system and history": [
        SystemMessage("Answer like a pirate."),
        HumanMessage("Who are you?"),
        AIMessage("A parrot, arr."),
        HumanMessage("Name a fruit."),
    ],
    "awkward text": [HumanMessage("  leading blanks,\n\n\ttabs \N{SNOWMAN} and a \N{GRINNING FACE}\n")],
}
CALL = {"name": "weather", "args": {"city": "Oslo"}, "id": "1", "type": "tool_call"}
RESPONSES = [AIMessage("Because of Rayleigh scattering."), AIMessage("An app"), AIMessage("", tool_calls=[CALL])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The embedded weights with a random head, wide enough that other words are other scores."""
    vllm_python()  # skips before the work
    torch.manual_seed(0)
    source, folder = embedded_folder(), tmp_path_factory.mktemp("reward-model")
    config = AutoConfig.from_pretrained(source, num_labels=1)
    model = AutoModelForSequenceClassification.from_pretrained(source, config=config, dtype=torch.bfloat16)
    torch.nn.init.normal_(model.score.weight, std=0.1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serve(dtype="float32", extra=["--runner=pooling"], model=folder) as server:
        yield server


@pytest.fixture(scope="module")
def local(folder):
    return RewardModel(folder, dtype="float32")


@pytest.fixture(scope="module")
def chat():
    """A model that has run once, so that what it keeps for good is there already."""
    model = ChatDarwin(dtype="float32", reward=len_of, search=BestOfN(2), max_tokens=18, seed=3)
    model.invoke("Hello")
    return model


def len_of(messages, responses):
    return [len(response.text) for response in responses]


def remote(url, endpoint=None, **settings):
    return RemoteReward(url, endpoint or Classify(NAME), **{"longest_wait": 0.2, **settings})


@pytest.mark.parametrize("path", ["/classify", "/pooling"])
@pytest.mark.parametrize("messages", CHATS.values(), ids=CHATS.keys())
def test_scores_equal_the_local_models(server, local, messages, path):
    expected = local(messages, RESPONSES)
    assert max(expected) - min(expected) > 0.5
    for scores in both_ways(remote(server.base_url, Classify(NAME, path=path)), messages):
        assert scores == pytest.approx(expected, abs=2e-3)


def both_ways(reward, messages, responses=RESPONSES):
    """Its scores, asked synchronously and asynchronously."""
    reward = as_reward(reward)
    return [reward.score(messages, responses), asyncio.run(reward.ascore(messages, responses))]


def test_pairs_are_scored_as_the_servers_tokenizer_joins_them(server, folder):
    responses = RESPONSES[:2]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    pairs = [tokenizer("Why is the sky blue?", response.text, return_tensors="pt") for response in responses]
    with torch.inference_mode():
        expected = [torch.sigmoid(model(input_ids=pair["input_ids"]).logits).item() for pair in pairs]
    for scores in both_ways(remote(server.base_url, Pairs(NAME)), CHATS["one turn"], responses):
        assert scores == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("search", [BestOfN(3), Darwin(beams=3, keep=2, period=6, mutation="none")])
def test_a_search_finds_what_it_finds_with_the_local_model(server, local, chat, search):
    question = "Name three rivers."
    with nothing_left(server.running):
        far = chat.invoke(question, search=search, reward=remote(server.base_url, partial=True))
    near = chat.invoke(question, search=search, reward=local)
    assert far.text == near.text
    rewards = [message.response_metadata["darwin"]["reward"] for message in (far, near)]
    assert rewards[0] == pytest.approx(rewards[1], abs=2e-3)


FAULTS = {
    "429 that says when": Answered(429, b"too many", {"Retry-After": "0.1"}),
    "503": Answered(503, b"restarting"),
    "garbage": Answered(),
    "cut": Cut(after=15),
    "reset": Cut(after=15, reset=True),
    "slow": Delayed(5.0),
}


@pytest.mark.parametrize("what", FAULTS)
def test_passing_faults_are_outlasted(server, local, tried, what):
    expected = local(CHATS["one turn"], RESPONSES)
    with faulty_peer(server.base_url) as peer, nothing_left(server.running):
        reward = as_reward(remote(peer.base_url, request_timeout=2.0))
        for ask in (reward.score, lambda *texts: asyncio.run(reward.ascore(*texts))):
            peer.faults.extend([FAULTS[what]] * 3)
            tried[f"reward: {what}, then well"] += 3
            assert ask(CHATS["one turn"], RESPONSES) == pytest.approx(expected, abs=2e-3)
        assert (len(peer.faults), len(peer.asked)) == (0, 12)


LASTING = {
    **FAULTS,
    "no score in it": Answered(body=b'{"data": [{"index": 0, "probs": []}]}'),
    "another model": None,
}


@pytest.mark.parametrize("what", LASTING)
def test_faults_that_last_are_errors_that_name_the_address_and_lose_nothing(server, chat, tried, what):
    with faulty_peer(server.base_url) as peer, nothing_left(server.running):
        peer.always = LASTING[what]  # type: ignore[assignment]
        endpoint = Classify("another-model" if what == "another model" else NAME)
        reward = remote(peer.base_url, endpoint, request_timeout=0.3, retries=1)
        with pytest.raises(RewardError, match=re.escape(f"{peer.base_url}/classify")) as caught:
            chat.invoke("Name a fruit.", reward=reward)
    tried[f"reward: {what}, for good"] += 1
    assert caught.value.best.text
    assert caught.value.trace


def test_a_server_that_comes_back_is_waited_for(server, local, tried):
    expected = local(CHATS["one turn"], RESPONSES)
    with nothing_left(server.running), faulty_peer(server.base_url) as peer:
        peer.down()
        later = threading.Timer(1.0, peer.up)
        later.start()
        patient = remote(peer.base_url, retries=100)
        assert patient(CHATS["one turn"], RESPONSES) == pytest.approx(expected, abs=2e-3)
        later.join()
        tried["reward: refused, then well"] += 1


def test_a_server_killed_in_mid_search_is_an_error_that_names_it(server, chat, tried):
    """The last test here: the server stays dead."""
    reward = remote(server.base_url, retries=2, partial=True)
    search = Darwin(beams=2, keep=1, period=3, mutation="none")
    scored = iter(range(100))

    def kill_later(event):
        if isinstance(event, Scored) and next(scored) == 1:
            server.kill()

    with nothing_left(), pytest.raises(RewardError, match=re.escape(f"{server.base_url}/classify could")) as caught:
        chat.model_copy(update={"on_search_event": kill_later}).invoke("Name a fruit.", reward=reward, search=search)
    tried["reward: server killed (SIGKILL) in mid-search"] += 1
    assert caught.value.best.text
    assert caught.value.trace
