"""Failures after which a process cannot use its accelerator any more.

An illegal memory access or a failed assertion in a kernel leaves the CUDA or HIP context of the process unusable. Each
later call fails with the same error, whatever it does.
"""

from __future__ import annotations

import re

import torch

from langchain_darwin.errors import PolicyError, first_line
from langchain_darwin.inference.out_of_memory import is_out_of_memory

_SAYINGS = re.compile(
    r"""
    illegal[ ](memory[ ]access|address|instruction)
    | device-side[ ]assert
    | misaligned[ ]address
    | memory[ ]access[ ]fault
    | (unspecified|uncorrectable)[ ](launch[ ]failure|ECC[ ]error)
    | hardware[ ]stack[ ]error
    | (cuda|hip)Error(IllegalAddress|Assert|LaunchFailure|MisalignedAddress|ECCUncorrectable|HardwareStackError)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_dead_device(error: BaseException) -> bool:
    """Return True if the accelerator's context is lost, so that only another process can go on."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    accelerator_error = getattr(torch, "AcceleratorError", None)
    of_accelerator = accelerator_error is not None and isinstance(error, accelerator_error)
    return of_accelerator or _SAYINGS.search(str(error)) is not None


def dead_device_error(error: BaseException, device: torch.device) -> PolicyError:
    """Return the error of every later call on a device that is lost."""
    return PolicyError(
        f"{device} cannot be used by this process any more ({first_line(error)}); restart the process. "
        "CUDA_LAUNCH_BLOCKING=1 shows the operation that failed"
    )
