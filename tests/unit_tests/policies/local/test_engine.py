"""The engine on a tiny model: a text fails alone, a lost device is named, long prompts are read in portions."""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time

import pytest
import torch

from langchain_darwin.errors import DarwinError, InvalidRequestError, PolicyError, UnsupportedModelError
from langchain_darwin.policies.base import Constraint, Job, Sampling
from langchain_darwin.policies.grammar.matcher import Matcher
from langchain_darwin.policies.local.engine import Engine
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.policies.local.scheduler import Scheduler
from tests.forking import in_forked_child
from tests.tiny_models import cached_tiny_model

LONG = Sampling(temperature=1.0, top_k=0, max_tokens=60, min_tokens=60)
SHORT = Sampling(temperature=1.0, top_k=0, max_tokens=12, min_tokens=12)
BOUND = Sampling(constraint=Constraint("regex", "[a-z]{20}"))


@pytest.fixture
def policy():
    return TransformersPolicy(str(cached_tiny_model("llama")), dtype="float32", device="cpu")


def grown(policy, key=0, sampling=SHORT):
    return policy.submit([Job((20, 21), 2, sampling, key)])


def beside_a_healthy_text(policy, fail):
    """The error of what `fail()` submits while another text is decoded, which must come out as it would alone."""
    alone = grown(policy, 7, LONG).result(60)[0].tokens
    healthy = grown(policy, 7, LONG)
    with pytest.raises(DarwinError) as caught:
        fail().result(60)
    assert healthy.result(60)[0].tokens == alone
    return caught.value


class TestOneTextFailsAlone:
    def test_whose_grammar_refuses_its_token(self, policy, monkeypatch):
        def refuse(self, token, left=None):
            raise InvalidRequestError("the grammar refuses this token")

        monkeypatch.setattr(Matcher, "accept", refuse)
        error = beside_a_healthy_text(policy, lambda: grown(policy, 1, BOUND))
        assert (type(error), str(error)) == (InvalidRequestError, "the grammar refuses this token")

    def test_whose_grammar_cannot_say_what_is_allowed(self, policy, monkeypatch):
        def broken(self, bits, row):
            raise RuntimeError("the matcher has ended")

        monkeypatch.setattr(Matcher, "fill", broken)
        error = beside_a_healthy_text(policy, lambda: grown(policy, 1, BOUND))
        assert (type(error), "the matcher has ended" in str(error)) == (PolicyError, True)

    def test_whose_caller_raises(self, policy):
        def theirs(*_):
            raise ZeroDivisionError("theirs")

        error = beside_a_healthy_text(policy, lambda: policy.submit([Job((30,), 1, SHORT, 0)], theirs))
        assert str(error) == "on_tokens raised: ZeroDivisionError: theirs"

    def test_whose_text_cannot_be_decoded(self, policy, monkeypatch):
        def broken(tokens):
            raise ValueError("no such token")

        stopping = Sampling(temperature=1.0, max_tokens=9, stop=("never",))
        monkeypatch.setattr(policy.codec, "decode", broken)
        error = beside_a_healthy_text(policy, lambda: grown(policy, 1, stopping))
        assert "no such token" in str(error)

    @pytest.mark.parametrize("number", [math.nan, math.inf])
    def test_whose_numbers_are_not_finite(self, policy, monkeypatch, number):
        store = policy._running()._engine._rows.store
        step = store.step

        def spoiled(tokens, ids):
            logits = step(tokens, ids)
            for i, row in enumerate(store.live):
                if row.tokens[0] == 33:
                    logits[i, 5] = number
            return logits

        monkeypatch.setattr(store, "step", spoiled)
        error = beside_a_healthy_text(policy, lambda: policy.submit([Job((33, 34), 2, SHORT, 0)]))
        assert type(error) is UnsupportedModelError
        assert str(error).startswith(
            "llama in float32 gives numbers that are not finite (NaN or infinite) for this text; pass dtype="
        )

    def test_that_cannot_be_opened(self, policy, monkeypatch):
        store = policy._running()._engine._rows.store
        opening = store.open

        def refusing(prefixes, **options):
            if any(prefix[0] == 33 for prefix in prefixes):
                raise IndexError("a position beyond the table")
            return opening(prefixes, **options)

        monkeypatch.setattr(store, "open", refusing)
        error = beside_a_healthy_text(policy, lambda: policy.submit([Job((33, 34), 2, SHORT, 0)]))
        assert "a position beyond the table" in str(error)


class TestLostDevice:
    def test_every_call_says_so_at_once_until_the_process_ends(self):
        policy = TransformersPolicy(str(cached_tiny_model("qwen3")), dtype="float32", device="cpu")
        expected = grown(policy).result(60)[0].tokens
        engine = policy._running()._engine

        def lost(*_):
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")

        waiting = [grown(policy, key) for key in range(3)]
        [future.result(60) for future in waiting]
        engine._rows.store.step = lost
        said = []
        for _ in range(2):
            with pytest.raises(PolicyError) as caught:
                grown(policy).result(5)
            said.append(str(caught.value))
        with pytest.raises(PolicyError, match="restart the process"):
            policy.propose([(20,)], 2).result(5)
        assert (
            said[0]
            == said[1]
            == (
                "cpu cannot be used by this process any more (CUDA error: device-side assert triggered); "
                "restart the process. CUDA_LAUNCH_BLOCKING=1 shows the operation that failed"
            )
        )
        engine._dead = None
        assert grown(policy).result(60)[0].tokens == expected


class TestPortions:
    def test_a_long_prompt_is_read_between_the_steps_of_live_texts(self, policy, monkeypatch):
        engine = policy._running()._engine
        monkeypatch.setattr(engine, "_scheduler", Scheduler(32))
        prompt = tuple(20 + i % 90 for i in range(200))
        alone = policy.submit([Job(prompt, 200, SHORT, 3)]).result(60)[0]
        engine._rows.reset()
        events = []
        begun, go_on = threading.Event(), threading.Event()

        def tell(_, tokens):
            events.append("token")
            begun.set()
            go_on.wait(60)

        live = policy.submit([Job((60, 61), 2, LONG, 0)], tell)
        begun.wait(60)
        opened = engine._rows.store.open
        monkeypatch.setattr(
            engine._rows.store,
            "open",
            lambda prefixes, **options: (events.append(len(prefixes[0])), opened(prefixes, **options))[1],
        )
        long = policy.submit([Job(prompt, 200, SHORT, 3)])
        go_on.set()
        found = long.result(60)[0]
        assert found.tokens == alone.tokens
        assert (found.prefilled, found.reused) == (200, 0)
        assert len(live.result(60)[0].tokens) == 60
        reads = [event for event in events if event != "token"]
        assert reads == [32, 64, 96, 128, 160, 192, 200]
        places = [events.index(read) for read in reads]
        assert all("token" in events[one:other] for one, other in itertools.pairwise(places))


class TestThread:
    def test_it_binds_itself_to_its_device(self, policy, monkeypatch):
        bound = []
        monkeypatch.setattr(torch.cuda, "set_device", bound.append)
        inbox = queue.SimpleQueue()
        inbox.put(None)
        Engine(lambda: pytest.fail("no text came"), policy.codec, torch.device("cuda:1"), inbox, None, "").run()
        Engine(lambda: pytest.fail("no text came"), policy.codec, torch.device("cpu"), closed(), None, "").run()
        assert bound == [torch.device("cuda:1")]


def closed():
    inbox = queue.SimpleQueue()
    inbox.put(None)
    return inbox


class TestFork:
    def test_a_forked_child_decodes_the_same_with_a_thread_of_its_own(self, policy):
        expected = grown(policy, 5).result(60)[0].tokens
        busy = grown(policy, 6, LONG)
        answer = in_forked_child(lambda: grown(policy, 5).result(60)[0].tokens, timeout=60)
        assert answer == str(expected)
        assert len(busy.result(60)[0].tokens) == 60
        assert grown(policy, 5).result(60)[0].tokens == expected

    def test_a_child_counts_no_work_of_its_parent(self, policy):
        grown(policy).result(60)
        assert in_forked_child(lambda: (policy.waiting, policy._running().live_rows)) == "(0, 0)"

    def test_a_child_of_a_process_with_the_model_on_a_gpu_is_told_to_spawn(self, policy):
        grown(policy).result(60)

        class OnGPU:
            name, device = "llama", torch.device("cuda:0")

        policy._loaded = OnGPU()
        answer = in_forked_child(policy._running)
        assert answer.startswith("PolicyError: llama was loaded on cuda:0 before this process was forked")
        assert "'spawn'" in answer


def test_a_deadline_ends_a_text_that_waits(policy):
    [growth] = policy.submit([Job((20,), 1, LONG, 0, deadline=time.monotonic() - 1)]).result(60)
    assert (growth.tokens, growth.finish) == ((), "timeout")
