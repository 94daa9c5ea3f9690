"""Failed allocations distinguished from other failures.

torch raises `OutOfMemoryError` from its own allocators only. Libraries beneath it report the same by the text of a
`RuntimeError`: the CUDA and HIP runtimes, cuBLAS and its siblings, Apple's Metal, and the CPU's allocator.
"""

from __future__ import annotations

import re

import torch

_KINDS = (MemoryError, torch.OutOfMemoryError)
_SAYINGS = re.compile(
    r"""
    out[ ]of[ ]memory               # CUDA, HIP, XPU, MPS
    | out_of_memory                 # CUBLAS_STATUS_..., hipErrorOutOfMemory in some bindings
    | ErrorOutOfMemory              # hipErrorOutOfMemory
    | ErrorMemoryAllocation         # cudaErrorMemoryAllocation
    | ALLOC_FAILED                  # CUBLAS_STATUS_, CUDNN_STATUS_, CUSOLVER_STATUS_, HIPBLAS_STATUS_
    | (can't|cannot|failed[ ]to|unable[ ]to)[ ]allocate
    | not[ ]enough[ ]memory
    | std::bad_alloc
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an allocation failed, on any device."""
    if isinstance(error, _KINDS):
        return True
    return isinstance(error, (RuntimeError, OSError)) and _SAYINGS.search(str(error)) is not None
