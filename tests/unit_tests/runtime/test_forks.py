import asyncio
import threading

from langchain_darwin.inference.shared_models import SharedModels
from langchain_darwin.runtime.background_loop import background_loop
from langchain_darwin.runtime.forks import PerProcess, ProcessBound
from tests.forking import in_forked_child


def test_a_process_makes_its_value_once_and_a_child_another():
    made = []
    value = PerProcess(lambda: made.append(None) or len(made))
    assert (value.get(), value.get()) == (1, 1)
    assert in_forked_child(lambda: (value.get(), value.get())) == "(2, 2)"
    assert value.get() == 1


def test_a_lock_that_is_held_during_the_fork_is_free_in_the_child():
    lock = PerProcess(threading.Lock)
    with lock.get():
        assert in_forked_child(lambda: lock.get().acquire(timeout=1)) == "True"


def test_what_is_bound_to_a_process_is_foreign_in_its_child():
    bound = ProcessBound()
    assert not bound.is_foreign
    assert in_forked_child(lambda: bound.is_foreign) == "True"


def test_a_child_has_a_background_loop_of_its_own():
    loop = background_loop("of both")

    async def add() -> int:
        await asyncio.sleep(0)
        return 1 + 1

    assert loop.run(add()).result(5) == 2
    assert in_forked_child(lambda: background_loop("of both").run(add()).result(5)) == "2"
    assert background_loop("of both") is loop


def test_a_child_loads_what_its_parent_was_loading_and_shares_what_was_loaded():
    class Model:
        name = "parent's"

    shared, loading, go_on = SharedModels(), threading.Event(), threading.Event()
    kept = shared.get("loaded", Model)

    def load() -> Model:
        loading.set()
        go_on.wait(30)
        return Model()

    thread = threading.Thread(target=shared.get, args=("loading", load))
    thread.start()
    loading.wait(30)
    assert in_forked_child(lambda: shared.get("loaded", Model) is kept) == "True"
    assert in_forked_child(lambda: shared.get("loading", Model).name) == "parent's"
    go_on.set()
    thread.join(30)
