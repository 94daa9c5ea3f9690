"""The embedded model, loaded once for all tests; nothing that a test does to logging stays."""

import logging
from collections.abc import Iterator

import pytest
import torch

from langchain_darwin.policies.embedded import embedded_model_path
from langchain_darwin.policies.transformers import TransformersPolicy

torch.set_num_threads(1)  # test workers share the cores, and threads that wait for one another waste them


@pytest.fixture(scope="session")
def embedded_policy() -> TransformersPolicy:
    """The embedded model in float32, in which equal means equal token by token."""
    return TransformersPolicy(str(embedded_model_path()), dtype="float32")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The command line shows log records by a handler of its own; other tests read them where they belong."""
    logger = logging.getLogger("langchain_darwin")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
