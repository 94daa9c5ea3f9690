"""What is shared, what is kept, and what is let go before something else is loaded."""

from __future__ import annotations

import threading
import weakref

import pytest

from langchain_darwin.inference.shared_models import SharedModels


class Model:
    """Stands for weights."""


def test_one_model_a_key():
    shared = SharedModels()
    first = shared.get("a", Model)
    assert shared.get("a", Model) is first
    assert shared.get("b", Model) is not first


def test_each_is_loaded_in_a_thread_that_ends_with_the_loading():
    def load():
        loaders.append(threading.current_thread())
        return Model()

    loaders = []
    SharedModels().get("a", load)
    [loader] = loaders
    assert loader is not threading.current_thread()
    loader.join(timeout=10)
    assert not loader.is_alive()


def test_threads_that_ask_at_once_load_once():
    shared, loads, barrier = SharedModels(), [], threading.Barrier(4)

    def load():
        loads.append(Model())
        return loads[-1]

    def ask():
        barrier.wait()
        found.append(shared.get("a", load))

    found = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == loads * 4


def test_the_latest_is_kept_when_nobody_holds_it():
    shared = SharedModels()
    latest = weakref.ref(shared.get("a", Model))
    assert shared.held("a") is latest() is not None
    assert shared.held("b") is None


def test_the_latest_is_gone_before_another_is_loaded():
    shared = SharedModels()
    first = weakref.ref(shared.get("a", Model))
    alive_then = []

    def load():
        alive_then.append(first())
        return Model()

    shared.get("b", load)
    assert alive_then == [None]
    assert shared.held("a") is None


def test_what_somebody_holds_is_shared_however_many_came_after():
    shared = SharedModels()
    first = shared.get("a", Model)
    shared.get("b", Model)
    assert shared.get("a", Model) is first


def test_two_kinds_of_models_leave_each_other_alone():
    policies, rewards = SharedModels(), SharedModels()
    policy, reward = (weakref.ref(shared.get("a", Model)) for shared in (policies, rewards))
    assert None not in (policy(), reward())


def test_a_failed_load_can_be_repeated():
    shared = SharedModels()

    def fail():
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        shared.get("a", fail)
    assert shared.get("a", Model) is shared.held("a")
