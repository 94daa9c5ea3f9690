"""Remote rewards against a real HTTP server on a Unix socket: what is sent, and what becomes of faults."""

from __future__ import annotations

import asyncio
import builtins
import gc
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_darwin.errors import ConfigurationError, MissingDependencyError, RewardError
from langchain_darwin.rewards import Classify, Json, Pairs, RemoteReward, as_reward
from langchain_darwin.runtime.http_retries import _seconds
from tests.reward_server import reward_server

MESSAGES = [SystemMessage("Be brief."), HumanMessage("Name a colour.")]
RESPONSES = [AIMessage("Red."), AIMessage("Ultramarine.")]
SCORES = [4.0, 12.0]


@pytest.fixture
def server():
    with reward_server() as server:
        yield server


def remote(server, endpoint=None, **settings):
    return RemoteReward("http://rewards/", endpoint or Classify("rm"), uds=server.uds, **settings)


def both_ways(reward):
    """Ask it synchronously and asynchronously, as two calls."""
    reward = as_reward(reward)
    return [
        lambda: reward.score(MESSAGES, RESPONSES),
        lambda: asyncio.run(reward.ascore(MESSAGES, RESPONSES)),
    ]


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
RED = {"role": "assistant", "content": "Red."}


def test_classify_posts_one_chat_per_answer(server):
    assert remote(server)(MESSAGES, RESPONSES) == SCORES
    paths, bodies, _ = zip(*server.bodies, strict=True)
    assert paths == ("/classify", "/classify")
    assert {"model": "rm", "messages": [*CHAT, RED], "use_activation": False} in bodies


def test_pooling_takes_the_last_number_of_the_last_token(server):
    assert remote(server, Classify("rm", path="/pooling", options={}))(MESSAGES, RESPONSES) == SCORES


def test_pairs_post_all_answers_at_once(server):
    assert remote(server, Pairs("rm", path="/v1/score"))(MESSAGES, RESPONSES) == SCORES
    ((path, body, _),) = server.bodies
    text = "System: Be brief.\n\nUser: Name a colour."
    assert (path, body) == ("/v1/score", {"model": "rm", "text_1": text, "text_2": ["Red.", "Ultramarine."]})


def test_any_json_will_do():
    def reply(path, body):
        return {"result": [{"score": len(body["in"]["a"])}]}

    body = {"in": {"q": "$messages", "a": "$answer", "n": 1}, "as text": ["$conversation"]}
    with reward_server(reply) as server:
        assert remote(server, Json(body, "result.0.score", path="/rate"))(MESSAGES, RESPONSES) == SCORES
        text = "System: Be brief.\n\nUser: Name a colour."
        expected = {"in": {"q": CHAT, "a": "Red.", "n": 1}, "as text": [text]}
        assert ("/rate", expected) in [(path, body) for path, body, _ in server.bodies]


def test_the_key_is_sent_and_never_shown(server):
    reward = remote(server, api_key="sesame")
    reward(MESSAGES, RESPONSES)

    assert all(headers["Authorization"] == "Bearer sesame" for _, _, headers in server.bodies)
    assert "sesame" not in repr(reward) + repr(reward.identity()) + repr(vars(reward))


@pytest.mark.parametrize("fault", ["503", "429 in 0", "truncated", "garbage"])
def test_passing_faults_are_outlasted(server, fault):
    for ask in both_ways(remote(server, longest_wait=0.05)):
        server.faults[:] = [fault, fault]
        assert ask() == SCORES
        assert server.faults == []


def test_a_slow_answer_is_asked_for_again(server):
    for ask in both_ways(remote(server, request_timeout=0.2, longest_wait=0.05)):
        server.faults[:] = ["slow"]
        assert ask() == SCORES


def test_retry_after_is_kept_to(server):
    server.faults[:] = ["429 in 0.4"]
    started = time.monotonic()

    assert remote(server, longest_wait=1.0)(MESSAGES, RESPONSES[:1]) == SCORES[:1]
    assert time.monotonic() - started >= 0.4


def test_a_server_that_asks_for_too_much_time_is_not_asked_again(server):
    for ask in both_ways(remote(server, Pairs("rm"), longest_wait=1.0)):
        server.faults[:] = ["503 in 3600"]
        with pytest.raises(RewardError, match="answered 503 Service Unavailable: 'not now'"):
            ask()
        assert server.faults == []


def test_faults_that_stay_are_an_error_in_the_end(server):
    for ask in both_ways(remote(server, Pairs("rm"), retries=2, longest_wait=0.02)):
        server.faults[:] = ["503"] * 5
        with pytest.raises(RewardError, match=r"reward 'rm' at http://rewards/score answered 503") as caught:
            ask()
        assert len(server.faults) == 2
        assert caught.value.reward == "rm"


def test_a_wrong_address_is_an_error_at_once(server):
    for ask in both_ways(remote(server, Pairs("rm"))):
        server.faults[:] = ["404", "404"]
        with pytest.raises(RewardError, match="answered 404 Not Found"):
            ask()
        assert len(server.faults) == 1


def test_garbage_that_stays_is_an_error_that_shows_it(server):
    for ask in both_ways(remote(server, Pairs("rm"), retries=1, longest_wait=0.02)):
        server.faults[:] = ["garbage"] * 2
        with pytest.raises(RewardError, match=r"score answered '<html>proxy</html>', which is not JSON"):
            ask()


def test_json_without_a_score_is_an_error_that_shows_it():
    with reward_server(lambda path, body: {"object": "error"}) as server:
        for endpoint in (Classify("rm"), Pairs("rm"), Json({"a": "$answer"}, "score")):
            with pytest.raises(RewardError, match=r"answered .*error.* finds no score \(KeyError"):
                remote(server, endpoint)(MESSAGES, RESPONSES)


def test_a_score_that_is_no_number_is_refused():
    with reward_server(lambda path, body: {"score": None}) as server:
        reward = as_reward(remote(server, Json({}, "score")))
        with pytest.raises(RewardError, match="returned None for response 1"):
            reward.score(MESSAGES, RESPONSES)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # httpcore drops a Unix socket that does not connect
def test_nobody_there_is_an_error(tmp_path):
    reward = RemoteReward("http://rewards", Classify("rm"), uds=str(tmp_path / "none"), retries=1, longest_wait=0.01)
    for ask in both_ways(reward):
        with pytest.raises(RewardError, match=r"could not be asked: ConnectError.*is the server up\?"):
            ask()
    gc.collect()


def test_only_so_many_requests_are_under_way(server):
    server.seconds = 0.03
    reward = as_reward(remote(server, concurrency=3))
    many = RESPONSES * 5

    async def two_searches():
        return await asyncio.gather(reward.ascore(MESSAGES, many), reward.ascore(MESSAGES, many))

    assert asyncio.run(two_searches()) == [SCORES * 5] * 2
    assert server.under_way == 3
    assert reward.score(MESSAGES, many) == SCORES * 5
    assert server.under_way == 3


def test_cancelling_ends_the_requests(server):
    server.seconds = 0.2
    reward = as_reward(remote(server, Pairs("rm")))

    async def main():
        asking = asyncio.create_task(reward.ascore(MESSAGES, RESPONSES))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())
    assert len(server.bodies) <= 1


def test_its_settings_are_checked():
    for settings in ({"request_timeout": 0}, {"retries": -1}, {"concurrency": 0}, {"longest_wait": -1}):
        with pytest.raises(ConfigurationError, match=next(iter(settings))):
            RemoteReward("http://a", Pairs("m"), **settings)


def test_without_httpx_it_says_what_to_install(monkeypatch):
    true_import = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "httpx":
            raise ImportError(name)
        return true_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'langchain-darwin\[vllm\]'"):
        RemoteReward("http://a", Pairs("m"))(MESSAGES, RESPONSES)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("2.5", 2.5), ("-3", 0.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert _seconds(header) == seconds
