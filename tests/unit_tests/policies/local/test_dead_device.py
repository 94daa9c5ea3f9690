import pytest
import torch

from langchain_darwin.errors import PolicyError
from langchain_darwin.policies.local.dead_device import dead_device_error, is_dead_device


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with `TORCH_USE_CUDA_DSA`"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: misaligned address"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("HIP error: an illegal memory access was encountered"),
        RuntimeError("hipErrorIllegalAddress"),
        torch.AcceleratorError("CUDA error: an illegal instruction was encountered"),
        torch.AcceleratorError("CUDA error: something that a later release calls otherwise"),
    ],
    ids=str,
)
def test_a_lost_context_is_recognised(error):
    assert is_dead_device(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        ValueError("illegal memory access"),
    ],
    ids=str,
)
def test_a_process_that_can_go_on_is_not_given_up(error):
    assert not is_dead_device(error)


def test_the_error_says_what_to_do():
    error = dead_device_error(RuntimeError("CUDA error: device-side assert triggered\nmore"), torch.device("cuda:1"))
    assert type(error) is PolicyError
    assert str(error) == (
        "cuda:1 cannot be used by this process any more (CUDA error: device-side assert triggered); "
        "restart the process. CUDA_LAUNCH_BLOCKING=1 shows the operation that failed"
    )
