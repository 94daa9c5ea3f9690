"""The remote policy on a real vLLM server.

In bfloat16 the rounding of a text depends on the texts that are in its batch, and a draw between two nearly equal
tokens may then fall differently. What must be equal token by token is therefore tested on a server in float32.
"""

import pytest

from langchain_darwin import VLLMPolicy
from tests.policy_contract import PolicyContract
from tests.vllm_server import NAME, serve


@pytest.fixture(scope="module")
def server():
    with serve("float32") as running:
        yield running


@pytest.fixture
def policy(server):
    return VLLMPolicy(server.base_url, NAME)


class TestContract(PolicyContract):
    pass


def test_small_blocks_keep_the_contract(server):
    contract = PolicyContract()
    policy = VLLMPolicy(server.base_url, NAME, block=3)
    prompts = [policy.codec.encode_chat([{"role": "user", "content": "Why is the sky blue?"}])] * 3
    contract.test_two_grows_equal_one(policy, prompts)
    contract.test_a_copied_row_goes_on_as_its_donor(policy, prompts)
