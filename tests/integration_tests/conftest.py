"""Real vLLM servers, each started at most once in a test session."""

from collections.abc import Iterator

import pytest

from tests.vllm_server import VLLMServer, serve


@pytest.fixture(scope="session")
def vllm_bfloat16() -> Iterator[VLLMServer]:
    """A server in bfloat16, as it is used."""
    with serve(extra=["--enable-prompt-tokens-details"]) as server:
        yield server


@pytest.fixture(scope="session")
def vllm_float32() -> Iterator[VLLMServer]:
    """A server in float32, in which equal means equal token by token."""
    with serve(dtype="float32", extra=["--enable-prompt-tokens-details"]) as server:
        yield server
