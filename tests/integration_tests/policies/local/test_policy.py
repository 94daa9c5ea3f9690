"""The contract of policies on the embedded model, against the library's own `generate`."""

import subprocess
import sys

import pytest
import torch

from langchain_darwin.testing.contracts.policy import FREE, PolicyContract
from tests.tiny_models import cached_tiny_model


def generate(policy, prompt, count):
    """Greedy tokens by the library's own loop."""
    model = policy._load().model
    ids = torch.tensor([prompt])
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        out = model.generate(ids, min_new_tokens=count, max_new_tokens=count, **options)
    return tuple(out[0, len(prompt) :].tolist())


class TestEmbedded(PolicyContract):
    @pytest.fixture
    def policy(self, embedded_policy):
        return embedded_policy

    def test_greedy_equals_generate(self, policy, prompts):
        growths = self.wait(policy, [self.job(prompt) for prompt in prompts])
        assert [growth.tokens for growth in growths] == [generate(policy, prompt, 12) for prompt in prompts]

    def wait(self, policy, jobs):
        return policy.submit(jobs).result(self.timeout)

    def test_logprob_is_the_models_own(self, policy, prompts):
        [growth] = self.wait(policy, [self.job(prompts[0], FREE)])
        with torch.inference_mode():
            logits = policy._load().model(torch.tensor([prompts[0] + growth.tokens])).logits[0]
        logprobs = logits[len(prompts[0]) - 1 : -1].log_softmax(-1)
        expected = logprobs.gather(1, torch.tensor(growth.tokens)[:, None]).sum().item()
        assert growth.logprob == pytest.approx(expected, abs=1e-3)

    def test_costs_are_exact(self, policy):
        prompt = policy.codec.encode_text("A text that no other test has asked for: the heron and the otter.")
        other = policy.codec.encode_text("Quite another beginning, then")
        count = len(prompt)
        growths = self.wait(policy, [self.job(prompt, FREE, key=key, tokens=6) for key in range(5)])
        assert costs(growths) == [(count, 0)] + [(1, count - 1)] * 4
        bodies = [growth.tokens for growth in growths]
        survivors = [prompt + body for body in (bodies[0], bodies[1], bodies[0])]
        graft = self.job(other, FREE, key=9, prefix=other + bodies[2], tokens=1)
        rounds = [self.job(prompt, FREE, key=9, prefix=prefix, tokens=1) for prefix in survivors]
        assert costs(self.wait(policy, [*rounds, graft])) == [(1, count + 5)] * 3 + [(len(other) + 6, 0)]

    def test_the_context_limit_ends_a_text(self, policy, monkeypatch, prompts):
        loop = policy._running()
        monkeypatch.setattr(loop, "_context_length", len(prompts[0]) + 3)
        [growth] = self.wait(policy, [self.job(prompts[0])])
        assert (growth.tokens, growth.finish) == (generate(policy, prompts[0], 3), "length")


def costs(growths):
    return [(growth.prefilled, growth.reused) for growth in growths]


def test_the_interpreter_exits_while_it_decodes():
    model = str(cached_tiny_model("llama"))
    code = (
        "from langchain_darwin.policies.base import Job, Sampling\n"
        "from langchain_darwin.policies.local.policy import TransformersPolicy\n"
        f"policy = TransformersPolicy({model!r}, dtype='float32', device='cpu')\n"
        "policy.submit([Job((20,), 1, Sampling(max_tokens=400, min_tokens=400), 0)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode().strip()[-200:]) == (0, "")
