"""The embedded model, loaded once for all tests; nothing that a test does to logging stays."""

import gc
import logging
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from langchain_darwin.policies.local.policy import TransformersPolicy


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports make millions of objects that stay: no garbage is looked for in them, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(hookwrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Names of tests hold no addresses: two workers must collect the same tests."""
    yield
    for call in metafunc._calls:
        call._idlist[:] = [re.sub(r" at 0x[0-9a-f]+", "", str(name)) for name in call._idlist]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Test workers share the cores, and threads that wait for one another waste them."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def embedded_policy() -> "TransformersPolicy":
    """The embedded model in float32, in which equal means equal token by token."""
    from langchain_darwin.inference.embedded_model import embedded_model_path
    from langchain_darwin.policies.local.policy import TransformersPolicy

    return TransformersPolicy(str(embedded_model_path()), dtype="float32")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The command line shows log records by a handler of its own; other tests read them where they belong."""
    logger = logging.getLogger("langchain_darwin")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
