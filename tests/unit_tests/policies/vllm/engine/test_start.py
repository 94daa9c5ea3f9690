"""Start and end of the engine's process. Here it is a real process that sleeps; vLLM's runs in integration_tests."""

import os
import signal
import subprocess
import sys
import time

import pytest

from langchain_darwin.policies.vllm.engine.settings import EngineSettings
from langchain_darwin.policies.vllm.engine.start import _environment

HOLDS_A_CORE = """
import multiprocessing, os, sys, tempfile, time
from types import SimpleNamespace
from langchain_darwin.policies.vllm.engine.start import _Resources, _own

def main():
    own = _own.get()
    core = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), name="EngineCore")
    core.start()
    finalizer = SimpleNamespace(detach=lambda: print("detached", flush=True))
    manager = SimpleNamespace(_finalizer=finalizer)
    client = SimpleNamespace(_finalizer=finalizer, resources=SimpleNamespace(engine_manager=manager))
    llm = SimpleNamespace(shutdown=lambda timeout: print("shut down", flush=True), engine_core=client)
    folder = tempfile.TemporaryDirectory()
    print(core.pid, folder.name, flush=True)
    if sys.argv[1] == "starting":  # the engine's process is there, but not the engine
        return
    resources = _Resources(llm, folder, [core])
    own.engines.add(resources)
    if sys.argv[1] == "closed":
        resources.close()
        resources.close()
        print(core.exitcode, multiprocessing.active_children(), own.engines, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), 9)
    if sys.argv[1] == "forked":
        child = os.fork()
        if child == 0:
            sys.exit(0)
        print("child", os.waitpid(child, 0)[1], core.is_alive(), flush=True)
    if sys.argv[1] == "forked and killed":
        if os.fork() == 0:
            time.sleep(40)
            os._exit(0)
        os.kill(os.getpid(), 9)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def end(tmp_path):
    """Run a process that holds a core and ends in that way; what it said, what it returned, and its core's number."""
    script = tmp_path / "script.py"
    script.write_text(HOLDS_A_CORE)

    def run(way):
        with (tmp_path / "stderr").open("w") as errors:
            holder = subprocess.Popen(
                [sys.executable, str(script), way], stdout=subprocess.PIPE, stderr=errors, text=True
            )
            first = holder.stdout.readline().split()
            code = holder.wait(60)
        said = "" if way == "forked and killed" else holder.stdout.read()
        holder.stdout.close()
        return int(first[0]), first[1], said.splitlines(), code

    return run


def is_gone(pid, seconds=20):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_an_interpreter_that_exits_ends_its_engine(end, tmp_path):
    core, folder, said, code = end("exits")
    assert (code, said, is_gone(core), os.path.exists(folder)) == (0, ["shut down"], True, False)  # noqa: PTH110
    assert (tmp_path / "stderr").read_text() == ""


def test_an_interpreter_that_exits_ends_an_engine_that_is_being_started(end):
    core, _, said, code = end("starting")
    assert (code, said, is_gone(core)) == (0, [], True)


def test_an_engine_is_closed_once_and_for_all(end):
    core, _, said, code = end("closed")
    assert (code, said, is_gone(core)) == (0, ["shut down", "-9 [] set()"], True)


def test_a_killed_interpreter_takes_its_engine_along(end):
    core, _, _, code = end("killed")
    assert (code, is_gone(core)) == (-signal.SIGKILL, True)


def test_a_forked_child_exits_without_a_word_and_leaves_the_engine(end, tmp_path):
    core, _, said, code = end("forked")
    assert said == ["detached", "detached", "child 0 True", "shut down"]
    assert (code, is_gone(core), (tmp_path / "stderr").read_text()) == (0, True, "")


def test_a_forked_child_that_lives_on_does_not_keep_a_dead_interpreters_engine(end):
    core, _, _, code = end("forked and killed")
    assert (code, is_gone(core)) == (-signal.SIGKILL, True)


def test_the_environment_is_set_for_the_start_alone_and_the_users_is_kept(monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    names = ("VLLM_WORKER_MULTIPROC_METHOD", "VLLM_LOGGING_LEVEL", "VLLM_BATCH_INVARIANT")
    before = dict(os.environ)
    with _environment(EngineSettings("m")):
        assert [os.environ.get(name) for name in names] == ["spawn", "DEBUG", None]
    with _environment(EngineSettings("m", options={"deterministic": True})):
        assert [os.environ.get(name) for name in names] == ["spawn", "DEBUG", "1"]
    assert dict(os.environ) == before
