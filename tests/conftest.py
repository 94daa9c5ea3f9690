"""The embedded model, loaded once for all tests."""

import pytest
import torch

from langchain_darwin.policies.embedded import embedded_model_path
from langchain_darwin.policies.transformers import TransformersPolicy

torch.set_num_threads(1)  # test workers share the cores, and threads that wait for one another waste them


@pytest.fixture(scope="session")
def embedded_policy() -> TransformersPolicy:
    """The embedded model in float32, in which equal means equal token by token."""
    return TransformersPolicy(str(embedded_model_path()), dtype="float32")
