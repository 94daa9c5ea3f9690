"""Which requests are repeated, and after which wait."""

import subprocess
import sys
from concurrent.futures import Future

import httpx
import pytest
import tenacity

from langchain_darwin.runtime.http_retries import BrokenAnswer, Refusal, is_passing, retry_rules, retry_wait

PASSING = [Refusal(status, "") for status in (408, 425, 429, 500, 503, 599)]
LASTING = [Refusal(status, "") for status in (400, 401, 403, 404, 409, 422)]


@pytest.mark.parametrize(
    "error", [*PASSING, BrokenAnswer(), httpx.ConnectError("refused"), httpx.ReadTimeout("late")], ids=repr
)
def test_what_may_pass_is_repeated(error):
    assert is_passing(error)


@pytest.mark.parametrize("error", [*LASTING, httpx.UnsupportedProtocol("ftp"), ValueError(), KeyError("x")], ids=repr)
def test_what_lasts_is_not(error):
    assert not is_passing(error)


def test_a_server_that_asks_for_more_than_the_longest_wait_is_not_asked_again():
    assert [is_passing(Refusal(429, "", seconds), longest_wait=5) for seconds in (None, 5, 5.1)] == [True, True, False]


def test_errors_are_told_apart_without_httpx():
    code = (
        "from langchain_darwin.runtime.http_retries import BrokenAnswer, is_passing; import sys;"
        "print(is_passing(BrokenAnswer()), is_passing(ValueError()), 'httpx' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False", "False"]


def waits(longest, attempt, error):
    """Fifty waits after that attempt, which failed with `error`."""
    state = tenacity.RetryCallState(None, None, (), {})
    state.attempt_number, state.outcome = attempt, Future()  # type: ignore[assignment]
    state.outcome.set_exception(error)
    return [retry_wait(longest)(state) for _ in range(50)]


@pytest.mark.parametrize(("attempt", "most"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 4.0)])
def test_waits_are_random_and_double_up_to_the_longest(attempt, most):
    found = waits(4.0, attempt, BrokenAnswer())
    assert 0 <= min(found) < max(found) <= most
    assert max(found) > most / 2


def test_no_wait_is_shorter_than_the_server_asks_for():
    assert waits(4.0, 1, Refusal(503, "", retry_after=7.5)) == [7.5] * 50


def test_a_request_is_repeated_as_often_as_said():
    tries = []

    def ask():
        tries.append(1)
        raise BrokenAnswer

    with pytest.raises(BrokenAnswer):
        tenacity.Retrying(**retry_rules(3, 0.001))(ask)
    assert len(tries) == 4
