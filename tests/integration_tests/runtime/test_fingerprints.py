"""Identities outlive the process, as caches do."""

import subprocess
import sys


def test_an_identity_is_the_same_in_another_process() -> None:
    code = (
        "from tests.unit_tests.runtime.test_fingerprints import *;"
        "names = ('closure', 'object', 'rule', 'nested data in a closure');"
        "print([as_reward(MAKERS[name](1)).identity() for name in names])"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(2)]

    assert runs[0].stdout == runs[1].stdout
