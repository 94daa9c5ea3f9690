"""The contracts as users have them: from the installed wheel, without this folder of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # builds the wheel and installs it

ROOT = Path(__file__).parents[3]

USERS_TESTS = '''
import dataclasses
import pathlib

import langchain_darwin
import pytest
from langchain_core.messages import AIMessage
from langchain_darwin.search.base import Grow, Outcome, Score, ranked
from langchain_darwin.testing import ScriptedPolicy
from langchain_darwin.testing.contracts import PolicyContract, RewardContract, SearchContract


def test_it_is_the_installed_package():
    assert pathlib.Path(langchain_darwin.__file__).is_relative_to(pathlib.Path(__file__).parent)


@dataclasses.dataclass(frozen=True)
class TwoAtATime:
    n: int = 4

    def run(self, task):
        answers = []
        for _ in range(0, self.n, 2):
            beams = yield Grow(task.roots(2))
            answers += yield Score(beams)
        return Outcome(tuple(ranked(answers)))


class TestMySearch(SearchContract):
    @pytest.fixture
    def search(self):
        return TwoAtATime()


def vowels(messages, responses):
    return [sum(letter in "aeiou" for letter in response.text) for response in responses]


class TestMyReward(RewardContract):
    def make(self):
        return vowels


class TestMyPolicy(PolicyContract):
    @pytest.fixture
    def policy(self):
        return ScriptedPolicy(words=("sea", "sky", "stone", "bird"), length=4000, seconds_per_token=0.001)


class Forgetful(TwoAtATime):
    """Loses the better half of what it finds."""

    def run(self, task):
        found = yield from super().run(task)
        return Outcome(found.beams[len(found.beams) // 2 :])


class TestForgetful(SearchContract):
    @pytest.fixture
    def search(self):
        return Forgetful()


class TestShifting(RewardContract):
    """A reward that depends on the company a text is in."""

    def make(self):
        return lambda messages, responses: [len(responses) + at for at, _ in enumerate(responses)]


class TestHasty(PolicyContract):
    """A policy that stops early."""

    @pytest.fixture
    def policy(self):
        return Hasty(length=4000, seconds_per_token=0.001)


class Hasty(ScriptedPolicy):
    def submit(self, jobs, on_tokens=None):
        short = [dataclasses.replace(job, tokens=min(job.tokens or 99, 7)) for job in jobs]
        return super().submit(short, on_tokens)
'''


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, **kwargs)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as its wheel installs it, and a user's tests beside it."""
    folder = tmp_path_factory.mktemp("user")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    built = run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("*.whl")
    done = run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel))
    assert done.returncode == 0, done.stderr
    (folder / "test_mine.py").write_text(USERS_TESTS, encoding="utf-8")
    return folder


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    return run(sys.executable, *arguments, cwd=folder, env=environment)


def test_a_user_subclasses_each_contract_from_the_installed_wheel(installed):
    options = ("-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "no:cacheprovider", "test_mine.py")

    kept = python(installed, *options, "-k", "TestMy or installed")
    assert kept.returncode == 0, kept.stdout
    assert " passed" in kept.stdout

    broken = python(installed, *options, "-k", "not TestMy")
    failed = {line.split("::")[1] for line in broken.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"TestForgetful", "TestShifting", "TestHasty"}, broken.stdout
    assert "assert [" in broken.stdout  # asserts of the package are rewritten, so that they show values


def test_the_fakes_need_no_pytest(installed):
    code = (
        "import sys; sys.modules['pytest'] = None; from langchain_darwin.testing import ScriptedPolicy, keyword_reward"
    )

    done = python(installed, "-c", code)

    assert (done.returncode, done.stderr) == (0, "")
