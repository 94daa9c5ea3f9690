"""vLLM's real engine in this process, in float32 on CPUs; run by a Python that has vLLM (`make test-vllm`).

An engine takes from one to several minutes to start. So one serves all tests of this module, and few start another.
"""

from __future__ import annotations

import atexit
import inspect
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="needs vLLM in this Python: make test-vllm")

from langchain_darwin import BestOfN, ChatDarwin, Darwin, MajorityVote, VLLMPolicy
from langchain_darwin.errors import ConfigurationError, InvalidRequestError
from langchain_darwin.policies.base import Constraint, Job, Sampling
from langchain_darwin.search.args import ARGS
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.particles import Particles
from langchain_darwin.testing.contracts.policy import FREE, PolicyContract
from tests import vllm_engine

MODEL = os.environ.get("EMBEDDED_MODEL", "")  # the folder that `langchain-darwin model-path` prints
OPTIONS = {"max_model_len": 1024, "kv_cache_memory_bytes": 2**29, "enforce_eager": True}
ROOT = Path(__file__).parents[4]
QUESTION = "Name three rivers and say where they are."
SEARCHES = {
    "args": ARGS(top_k=4),
    "best_of_n": BestOfN(n=3),
    "blockwise": BlockwiseBestOfK(k=2, block=8),
    "darwin": Darwin(beams=3, keep=1, period=8, mutation="none"),
    "darwin_with_mutation": Darwin(cycles=1, beams=2, period=8),
    "majority_vote": MajorityVote(n=3),
    "particles": Particles(n=3, period=8),
}
STARTED_SECONDS = 900  # a test that starts an engine may take on a busy machine

pytestmark = [
    pytest.mark.skipif(not MODEL, reason="EMBEDDED_MODEL names no folder: make test-vllm"),
    pytest.mark.timeout(STARTED_SECONDS),
]


@pytest.fixture(scope="module")
def policy():
    """The one engine. It reads texts in blocks of 8 tokens, so that grows end within them."""
    made = VLLMPolicy(model=MODEL, dtype="float32", engine_options=OPTIONS, block=8)
    yield made
    assert unfinished(made) == 0


def engine(policy):
    """What this process holds of the running engine."""
    [server] = policy._connected()._service.replicas.servers
    return server._task.result()


def unfinished(policy):
    """Requests that the engine still works on, after a moment for those that were just aborted."""
    ends = time.monotonic() + 10
    while (count := engine(policy).llm.get_num_unfinished_requests()) and time.monotonic() < ends:
        time.sleep(0.05)
    return count


def different_words(messages, responses):
    return [len(set(response.text.split())) for response in responses]


def chat(policy, **settings):
    return ChatDarwin(model=policy, **{"reward": different_words, "max_tokens": 24, "seed": 5, **settings})


class TestContract(PolicyContract):
    timeout = 600


def test_the_stand_in_has_the_real_interface():
    from vllm import exceptions
    from vllm.v1.engine import exceptions as engine_exceptions
    from vllm.v1.engine.async_llm import AsyncLLM

    for name in ("generate", "shutdown"):
        real = inspect.signature(getattr(AsyncLLM, name)).parameters
        for argument, parameter in inspect.signature(getattr(vllm_engine.AsyncLLM, name)).parameters.items():
            assert (real[argument].kind, real[argument].default) == (parameter.kind, parameter.default), argument
    assert isinstance(AsyncLLM.errored, property)
    for name in ("VLLMServerError", "VLLMClientError", "VLLMValidationError"):
        assert issubclass(getattr(exceptions, name), Exception)
    names = [kind.__name__ for kind in engine_exceptions.EngineDeadError.__mro__]
    assert names[:2] == [kind.__name__ for kind in vllm_engine.EngineDeadError.__mro__[:2]]


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_answer_and_leave_no_request(policy, name):
    answer = chat(policy, search=SEARCHES[name]).invoke(QUESTION)
    assert answer.text
    assert answer.usage_metadata["output_tokens"] > 0
    assert unfinished(policy) == 0


def test_equal_seeds_are_equal_answers_streamed_or_not(policy):
    model = chat(policy, search=SEARCHES["darwin"])
    whole = model.invoke(QUESTION).text
    assert model.invoke(QUESTION).text == whole
    assert "".join(chunk.text for chunk in model.stream(QUESTION)) == whole


def test_continuations_find_their_prefix_in_the_cache(policy):
    prompt = policy.codec.encode_chat([{"role": "user", "content": QUESTION * 6}])
    long = Sampling(1.0, max_tokens=48, min_tokens=48)
    [first] = policy.submit([Job(prompt, len(prompt), long, 1, 16)]).result(600)
    [second] = policy.submit([Job(prompt + first.tokens, len(prompt), long, 1, 16)]).result(600)
    assert second.reused >= len(prompt) // 32 * 32
    assert second.prefilled + second.reused == len(prompt) + 16


def test_grammars_hold(policy):
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    hot = Sampling(1.5, top_k=0, max_tokens=40, constraint=Constraint("json_schema", json.dumps(schema)))
    prompt = policy.codec.encode_chat([{"role": "user", "content": "A person as JSON."}])
    for growth in policy.submit([Job(prompt, len(prompt), hot, key) for key in range(3)]).result(600):
        assert isinstance(json.loads(policy.codec.decode(growth.tokens))["age"], int)


def test_a_request_that_vllm_refuses_is_our_error(policy):
    with pytest.raises(InvalidRequestError, match="temperature must be in"):
        chat(policy, temperature=3.0, search=BestOfN(n=1)).invoke(QUESTION)


def test_a_cancelled_search_leaves_no_request(policy):
    stream = chat(policy, search=BestOfN(n=1), max_tokens=700, min_tokens=700).stream(QUESTION)
    next(stream)
    stream.close()
    assert unfinished(policy) == 0


def test_policies_share_the_engine_and_pickles_find_it(policy):
    copy = pickle.loads(pickle.dumps(policy))
    assert engine(copy) is engine(policy)
    assert engine(VLLMPolicy(model=MODEL, dtype="float32", engine_options=dict(OPTIONS), block=8)) is engine(policy)


def test_a_forked_child_leaves_the_engine_alone(policy, tmp_path):
    before = chat(policy, search=BestOfN(n=2)).invoke(QUESTION).text
    child = os.fork()
    if child == 0:  # it exits as a process does, but for what pytest has to say
        os.dup2(os.open(tmp_path / "stderr", os.O_CREAT | os.O_WRONLY), 2)
        atexit._run_exitfuncs()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "stderr").read_text() == ""
    assert chat(policy, search=BestOfN(n=2)).invoke(QUESTION).text == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"deterministic": True}, "compute capability 8.0"),
        ({"gpu_memory_utilisation": 0.5}, "did you mean 'gpu_memory_utilization'"),
        ({"max_model_len": 10**9}, "refuses its settings"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(options, said):
    with pytest.raises(ConfigurationError, match=said):
        VLLMPolicy(model=MODEL, engine_options=options).codec  # noqa: B018


@pytest.mark.slow
def test_too_little_memory_names_the_setting_and_who_holds_it():
    options = {**OPTIONS, "kv_cache_memory_bytes": None, "gpu_memory_utilization": 1.0}
    with pytest.raises(ConfigurationError, match="gpu_memory_utilization") as caught:
        VLLMPolicy(model=MODEL, dtype="float32", engine_options=options).codec  # noqa: B018
    assert "of main memory are available, and this process" in str(caught.value)


def run(script, tmp_path, *arguments):
    """Start a script of its own."""
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(path), *arguments], stdout=subprocess.PIPE, text=True, env=environment,
        stderr=(tmp_path / "stderr").open("w"), start_new_session=True,
    )  # fmt: skip


CALL = f"""
model = ChatDarwin(model={MODEL!r}, engine="vllm", dtype="float32", engine_options={OPTIONS!r}, max_tokens=8,
                   search=BestOfN(n=1), reward=lambda messages, responses: [0.0] * len(responses))
"""
HEAD = "import multiprocessing, os, sys\nfrom langchain_darwin import BestOfN, ChatDarwin\n"
GUARDED = f"""{HEAD}
import psutil
def main():
    {CALL.strip()}
    text = model.invoke("Hello").text
    children = [each.pid for each in psutil.Process().children(recursive=True)]
    print(len(text) > 0, *children, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), 9)
if __name__ == "__main__":
    main()
"""


def test_a_script_without_a_main_guard_gets_a_sentence(tmp_path):
    script = run(f"{HEAD}print('begun')\n{CALL}\nmodel.invoke('Hello')\n", tmp_path)
    said, _ = script.communicate(timeout=STARTED_SECONDS)
    error = (tmp_path / "stderr").read_text()
    assert (said, script.returncode) == ("begun\n", 1)
    assert 'starts vLLM\'s engine outside of `if __name__ == "__main__":`' in error


@pytest.mark.slow
@pytest.mark.parametrize("end", ["returns", "killed"])
def test_no_process_outlives_the_interpreter(tmp_path, end):
    import psutil

    script = run(GUARDED, tmp_path, end)
    said, _ = script.communicate(timeout=STARTED_SECONDS)
    answered, *children = said.split() or [(tmp_path / "stderr").read_text()]
    assert answered == "True"
    assert len(children) >= 2
    assert script.returncode == (0 if end == "returns" else -signal.SIGKILL)
    ends = time.monotonic() + 30
    while (left := [each for each in children if psutil.pid_exists(int(each))]) and time.monotonic() < ends:
        time.sleep(0.1)
    assert left == []


@pytest.mark.slow
def test_an_engine_killed_under_a_search_is_started_again_and_the_search_goes_on(policy):
    """The last test, since it leaves another engine behind."""
    undisturbed = chat(policy, search=SEARCHES["darwin"], max_tokens=48).invoke(QUESTION).text
    [core] = [each for each in multiprocessing.active_children() if each.name.startswith("EngineCore")]
    told = []

    def kill_once(event):
        told.append(event)
        if len(told) == 4:
            os.kill(core.pid, signal.SIGKILL)

    model = chat(policy, search=SEARCHES["darwin"], max_tokens=48, on_search_event=kill_once)
    assert model.invoke(QUESTION).text == undisturbed
    assert len(told) > 4
    [other] = [each for each in multiprocessing.active_children() if each.name.startswith("EngineCore")]
    assert other.pid != core.pid
    assert [len(each.tokens) for each in policy.submit([Job((1, 2), 2, FREE, 1)]).result(600)] == [12]
