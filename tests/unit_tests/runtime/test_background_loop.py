import asyncio
import gc
import threading

import pytest

from langchain_darwin.runtime.background_loop import BackgroundLoop, background_loop


@pytest.fixture
def loop():
    loop = BackgroundLoop("mine")
    yield loop
    loop.stop()


async def thread_name() -> str:
    return threading.current_thread().name


def test_work_runs_in_a_thread_of_that_name(loop):
    assert loop.run(thread_name()).result(5) == "mine"


def test_a_loop_knows_whether_it_is_asked_from_itself(loop):
    async def ask() -> bool:
        return loop.is_current()

    assert (loop.is_current(), loop.run(ask()).result(5)) == (False, True)


def test_stopping_cancels_what_runs_and_closes_what_is_open(loop):
    told = []

    class Connection:
        async def aclose(self) -> None:
            told.append("closed")

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    connection, owner = Connection(), Connection()
    loop.hold(connection, owner)
    waiting = loop.run(wait())
    loop.run(asyncio.sleep(0)).result(5)
    loop.stop()

    assert told == ["cancelled", "closed"]
    assert waiting.cancelled()
    assert not loop.is_alive()


def test_what_an_owner_held_is_closed_when_the_owner_is_gone(loop):
    closed = threading.Event()

    class Connection:
        async def aclose(self) -> None:
            closed.set()

    connection, owner = Connection(), Connection()
    loop.hold(connection, owner)
    del owner
    gc.collect()

    assert closed.wait(5)


def test_a_name_has_one_loop_and_another_name_another():
    assert background_loop("first") is background_loop("first")
    assert background_loop("first") is not background_loop("second")


def test_a_loop_that_has_ended_is_begun_again():
    ended = background_loop("ends")
    ended.stop()

    assert background_loop("ends").run(thread_name()).result(5) == "ends"
