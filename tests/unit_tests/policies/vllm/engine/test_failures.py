"""Errors of engines that did not start. The logs are vLLM 0.32's own words."""

import pytest

from langchain_darwin.errors import ConfigurationError, MissingDependencyError, ModelNotFound, PolicyError
from langchain_darwin.policies.vllm.engine.failures import root_cause, start_failure

CORE_FAILED = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
TOO_FULL = (
    "ERROR EngineCore failed to start.\n"
    "ERROR Traceback (most recent call last):\n"
    'ERROR   File "core.py", line 1488, in run_engine_core\n'
    "ERROR ValueError: Free memory on device cuda:0 (3.11/79.19 GiB) on startup is less than desired GPU memory "
    "utilization (0.9, 71.27 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.\n"
)
MEMORY = [
    TOO_FULL,
    "ERROR ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
    "ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "ERROR RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    "ERROR ValueError: Available memory on node 0 (1/23 GiB) is less than desired CPU memory utilization",
]


@pytest.mark.parametrize("said", MEMORY, ids=lambda said: said[-40:])
def test_too_little_memory_names_the_setting_and_asks_who_holds_it(said):
    error = start_failure(CORE_FAILED, said, "org/name", {"gpu_memory_utilization": 0.9})
    assert type(error) is ConfigurationError
    assert root_cause(said) in str(error)
    assert "{'gpu_memory_utilization': ...} (now 0.9)" in str(error)
    assert "free memory: " in str(error)


def test_the_cause_is_the_first_error_of_the_log():
    assert root_cause(TOO_FULL).startswith("ValueError: Free memory on device cuda:0 (3.11/79.19 GiB)")
    assert root_cause("WARNING nothing to see") == ""


def test_settings_that_vllm_refuses_are_told_in_its_words():
    error = start_failure(ValueError("Unknown quantization\n method: fp3"), "", "org/name", {})
    assert (type(error), str(error).endswith("refuses its settings: Unknown quantization method: fp3")) == (
        ConfigurationError,
        True,
    )


def test_a_model_that_is_nowhere_is_not_found():
    hub = OSError("org/nmae is not a local folder and is not a valid model identifier listed on the hub\nmore")
    assert type(start_failure(hub, "", "org/nmae", {})) is ModelNotFound


def test_another_failure_names_its_cause():
    error = start_failure(CORE_FAILED, "ERROR AssertionError: head size 31", "org/name", {})
    assert type(error) is PolicyError
    assert "did not start: AssertionError: head size 31" in str(error)


def test_our_own_errors_stay_what_they_are():
    own = MissingDependencyError("needs x")
    assert start_failure(own, "", "org/name", {}) is own
