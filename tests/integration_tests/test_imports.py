"""What is imported loads nothing heavy, seen in a fresh interpreter."""

import subprocess
import sys

import pytest

MODELS = ("torch", "transformers")
REWARDS = (
    "from langchain_darwin.rewards import as_reward, LengthWindow, RewardModel, SelfReward\n"
    "as_reward([LengthWindow(), RewardModel('a/b'), 'self']).identity()"
)
HELP = "from langchain_darwin.cli import app\ntry: app(['ask', '--help'])\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import langchain_darwin", (*MODELS, "langchain_core")),
        ("import langchain_darwin.testing", MODELS),
        (REWARDS, MODELS),
        (HELP, (*MODELS, "langchain_core")),
    ],
    ids=["package", "testing", "rewards", "help"],
)
def test_nothing_heavy_is_loaded(code, heavy):
    code += f"\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
