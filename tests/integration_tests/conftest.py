"""Real vLLM servers, each started at most once in a test session, and a count of the faults that were tried."""

from collections import Counter
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


_TRIED = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def tried(request: pytest.FixtureRequest) -> Counter[str]:
    """How often each fault was tried; told at the end of the session."""
    return request.config.stash.setdefault(_TRIED, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if tried := config.stash.get(_TRIED, None):
        terminalreporter.section("faults tried")
        for what, count in tried.items():
            terminalreporter.write_line(f"{count:5}  {what}")
