"""Which server is asked, when again, and what is told when none answers. Servers here are httpx mock transports."""

import asyncio
import json

import httpx
import pytest

from langchain_darwin.errors import (
    AuthenticationError,
    ConfigurationError,
    ContextOverflowError,
    InvalidRequestError,
    ModelNotFound,
    PolicyError,
)
from langchain_darwin.policies.vllm import replicas as vllm_replicas
from langchain_darwin.policies.vllm.replicas import Replicas, name_of
from langchain_darwin.policies.vllm.server import Server

BODY = {"prompt": [1], "max_tokens": 2}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(vllm_replicas, "_LONGEST_WAIT", 0.0)


def stream(tokens=(5, 6), total=None, done=True):
    choice = {"token_ids": list(tokens), "logprobs": {"token_logprobs": [-1.0] * len(tokens)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": len(tokens) if total is None else total}
    events = [{"choices": [choice]}, {"choices": [], "usage": usage}]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"] * done
    return httpx.Response(200, text="".join(lines))


class Scripted:
    """A server that gives these answers, the last one again and again."""

    def __init__(self, *answers, models=("m",)):
        self.answers = list(answers)
        self.models = [{"id": name, "max_model_len": 100} for name in models]
        self.asked = []
        self.keys = set()

    def __call__(self, request):
        self.keys.add(request.headers.get("Authorization"))
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": self.models})
        self.asked.append(json.loads(request.content))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def replicas(*scripts, max_retries=2):
    servers = [
        Server(
            f"http://{name}",
            api_key=None,
            request_timeout=5,
            max_concurrency=4,
            transport=httpx.MockTransport(script),
        )
        for name, script in zip("abc", scripts, strict=False)
    ]
    return Replicas(servers, "m", max_retries)


class Reading:
    def __init__(self):
        self.tokens, self.begun = [], 0

    def begin(self):
        self.begun += 1

    def take(self, piece):
        self.tokens += piece.tokens
        return True


async def ask(group, prompt=(1, 2)):
    reading = Reading()
    await group.complete(name_of(prompt), BODY, reading)
    return reading


async def test_an_answer_is_read_and_the_model_named():
    script = Scripted(stream)
    reading = await ask(replicas(script))
    assert (reading.tokens, reading.begun) == ([5, 6], 1)
    assert script.asked == [{"model": "m", **BODY}]


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(503, text="loading"),
        httpx.Response(429, text="busy", headers={"Retry-After": "0"}),
        httpx.Response(200, text="<html>"),
        lambda: stream(done=False),
        lambda: stream(total=3),
        lambda: stream(tokens=(1, 2, 3)),
        lambda: stream(tokens=()),
        httpx.Response(200, text='data: {"error": {"message": "died", "code": 500}}\n\n'),
    ],
)
async def test_what_may_pass_is_asked_again_and_nothing_broken_is_taken(failure):
    reading = await ask(replicas(Scripted(failure, stream)))
    assert (reading.tokens, reading.begun) == ([5, 6], 2)


async def test_silence_names_the_address_after_all_tries():
    script = Scripted(httpx.ConnectError("refused"))
    with pytest.raises(PolicyError, match=r"no answer from http://a \(ConnectError: refused\).*max_retries"):
        await ask(replicas(script, max_retries=2))
    assert len(script.asked) == 3


async def test_silence_of_all_names_all():
    scripts = Scripted(httpx.ConnectError("refused")), Scripted(httpx.Response(503, text="loading"))
    with pytest.raises(PolicyError, match=r"(?s)http://a.*http://b|http://b.*http://a") as caught:
        await ask(replicas(*scripts))
    assert "503" in str(caught.value)
    assert "refused" in str(caught.value)


async def test_a_lost_replicas_texts_move_and_stay():
    scripts = [Scripted(stream), Scripted(stream)]
    group = replicas(*scripts)
    await ask(group)
    [home], [other] = [s for s in scripts if s.asked], [s for s in scripts if not s.asked]
    home.answers = [httpx.ConnectError("killed")]
    assert [(await ask(group)).tokens for _ in range(3)] == [[5, 6]] * 3
    assert (len(home.asked), len(other.asked)) == (2, 3)


async def test_one_prompt_stays_where_it_is():
    scripts = [Scripted(stream) for _ in range(3)]
    group = replicas(*scripts)
    for _ in range(5):
        await ask(group, (7,))
    assert sorted(len(script.asked) for script in scripts) == [0, 0, 5]


async def test_new_prompts_go_where_the_fewest_requests_are():
    seen, everyone = [], asyncio.Event()

    async def held(request):
        seen.append([server.asking for server in group.servers])
        if len(seen) == 12:
            everyone.set()
        await everyone.wait()
        return stream()

    group = replicas(held, held, held)
    await asyncio.gather(*(ask(group, (prompt,)) for prompt in range(12)))
    assert seen[-1] == [4, 4, 4]


@pytest.mark.parametrize(
    ("status", "said", "error", "told"),
    [
        (400, "This model's maximum context length is 2048 tokens.", ContextOverflowError, "--max-model-len"),
        (
            400,
            "Requested sample logprobs of 50, which is greater than max allowed: 20",
            ConfigurationError,
            "--max-log",
        ),
        (400, "Token id 99 is out of vocabulary", ConfigurationError, "99.*belong together"),
        (400, "something else", InvalidRequestError, "http://a answered 400.*something else"),
        (401, "Unauthorized", AuthenticationError, "http://a.*api_key"),
        (403, "Forbidden", AuthenticationError, "api_key"),
        (
            404,
            "The model `m` does not exist.",
            ModelNotFound,
            "model='m' is not served there; the server serves 'x', 'y'",
        ),
    ],
)
async def test_refusals_are_told_at_once_with_the_way_out(status, said, error, told):
    script = Scripted(httpx.Response(status, json={"error": {"message": said}}), models=("x", "y"))
    with pytest.raises(error, match=told):
        await ask(replicas(script))
    assert len(script.asked) == 1


async def test_what_is_served_is_asked_of_all_and_those_that_answer_suffice():
    assert await replicas(Scripted(stream), Scripted(stream)).served() == [{"id": "m", "max_model_len": 100}] * 2
    silent = httpx.MockTransport(lambda request: (_ for _ in ()).throw(httpx.ConnectError("refused")))
    group = replicas(Scripted(stream), Scripted(stream))
    group.servers[1]._make_client.keywords["transport"] = silent
    assert await group.served() == [{"id": "m", "max_model_len": 100}]


async def test_a_replica_of_another_model_is_an_error():
    with pytest.raises(ModelNotFound, match="serves 'other'"):
        await replicas(Scripted(stream), Scripted(stream, models=("other",))).served()


async def test_the_key_is_sent_as_a_bearer_token():
    from pydantic import SecretStr

    script = Scripted(stream)
    transport = httpx.MockTransport(script)
    server = Server("http://a", api_key=SecretStr("secret"), request_timeout=5, max_concurrency=1, transport=transport)
    await Replicas([server], "m", 0).served()
    await server.aclose()
    assert script.keys == {"Bearer secret"}


async def test_requests_beyond_the_limit_wait_their_turn():
    most = under_way = 0

    async def slow(request):
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return stream()

    group = replicas(slow)
    await asyncio.gather(*(ask(group, (prompt,)) for prompt in range(20)))
    assert most <= 4
    assert group.servers[0].asking == 0
