"""Scripts that a child process would run again are told so. Each script here is really run."""

import subprocess
import sys

import pytest

CHECK = "from langchain_darwin.policies.vllm.engine.main_guard import check_main_guard\n"
UNGUARDED = "check_main_guard()\nprint('on')\n"
IN_A_FUNCTION = "def main():\n    check_main_guard()\n    print('on')\n"
IN_A_THREAD = (
    "import threading\n"
    "def main():\n"
    "    def work():\n"
    "        try:\n"
    "            check_main_guard()\n"
    "            print('on')\n"
    "        except Exception as error:\n"
    "            print(error)\n"
    "    thread = threading.Thread(target=work)\n"
    "    thread.start()\n"
    "    thread.join()\n"
)
GUARD = 'if __name__ == "__main__":\n'


def run(*command, text=None, folder=None):
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, input=text, cwd=folder, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def script(tmp_path):
    def write(text):
        (tmp_path / "script.py").write_text(CHECK + text)
        return str(tmp_path / "script.py")

    return write


@pytest.mark.parametrize("text", [UNGUARDED, IN_A_FUNCTION + "main()\n", IN_A_THREAD + "main()\n"])
def test_a_script_without_a_guard_gets_a_sentence(script, text):
    path = script(text)
    said = run(path)
    line = 2 if text is UNGUARDED else (CHECK + text).count("\n")
    assert f'{path}, line {line}, starts vLLM\'s engine outside of `if __name__ == "__main__":`' in said
    assert "on\n" not in said.splitlines(keepends=True)


@pytest.mark.parametrize(
    "text",
    [
        GUARD + "    check_main_guard()\n    print('on')\n",
        IN_A_FUNCTION + GUARD + "    main()\n",
        IN_A_THREAD + GUARD + "    main()\n",
        IN_A_FUNCTION + "if '__main__' == __name__:\n    main()\n",
    ],
)
def test_a_guarded_script_goes_on(script, text):
    assert run(script(text)) == "on\n"


def test_what_no_child_would_run_again_goes_on(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(CHECK + UNGUARDED)
    assert run("-c", CHECK + UNGUARDED) == "on\n"
    assert run("-", text=CHECK + UNGUARDED) == "on\n"
    assert run("-m", "package", folder=tmp_path) == "on\n"


def test_a_module_run_as_a_script_is_told_too(tmp_path):
    (tmp_path / "module.py").write_text(CHECK + UNGUARDED)
    assert "line 2, starts vLLM's engine outside of" in run("-m", "module", folder=tmp_path)


def test_a_child_that_runs_the_script_again_says_so(script):
    """Code that the static check cannot see: the call is outside of the guard, and reached by the child alone."""
    text = (
        "import multiprocessing\n"
        "if __name__ == '__mp_main__':\n    check_main_guard()\n"
        f"{GUARD}    child = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    child.start()\n    child.join()\n    print('exit code', child.exitcode)\n"
    )
    said = run(script(text))
    assert "this script is run again by a process that it started" in said
    assert "exit code 1" in said
