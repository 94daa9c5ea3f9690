"""The local policy on a tiny model of every family; on the embedded model in tests/integration_tests."""

import functools
import json
import pickle
import threading

import pytest
import torch

from langchain_darwin.errors import ConfigurationError, ContextOverflowError, InvalidRequestError, PolicyError
from langchain_darwin.inference.memory import length_classes
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.policies.base import Constraint, Growth, Job, Proposal, Sampling
from langchain_darwin.policies.local import decode_loop
from langchain_darwin.policies.local.decode_loop import DecodeLoop
from langchain_darwin.policies.local.policy import TransformersPolicy
from langchain_darwin.testing.contracts.policy import FREE, GREEDY
from tests.tiny_models import FAMILIES, UNUSUAL, cached_tiny_model, tiny_model


@pytest.mark.parametrize("family", [*FAMILIES, *UNUSUAL])
class TestFamilies:
    @pytest.fixture
    def policy(self, family):
        return TransformersPolicy(str(cached_tiny_model(family)), dtype="float32", device="cpu")

    def test_greedy_equals_the_plain_forward(self, policy):
        long, short = tuple(range(20, 60)), tuple(range(100, 107))
        jobs = [Job(text, len(text), GREEDY, 0) for text in (long, short, long[:30] + short)]
        for job, growth in zip(jobs, policy.submit(jobs).result(60), strict=True):
            assert growth.tokens == plain_greedy(policy, job.prefix, 12)


def plain_greedy(policy, prefix, count):
    loaded = policy._load()
    ids = list(prefix)
    for _ in range(count):
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1].clone()
            logits[list(loaded.codec.end_ids)] = -torch.inf
        ids.append(int(logits.argmax()))
    return tuple(ids[len(prefix) :])


class TestLoop:
    @pytest.fixture
    def policy(self):
        return TransformersPolicy(str(cached_tiny_model("llama")), dtype="float32", device="cpu")

    def test_construction_loads_nothing(self):
        policy = TransformersPolicy("/no/such/folder")
        assert policy.identity()["model"] == "/no/such/folder"
        with pytest.raises(ConfigurationError, match="max_rows=0"):
            TransformersPolicy(max_rows=0)
        for share in (0, 1.5, -0.5):
            with pytest.raises(ConfigurationError, match=f"kv_memory={share} must be above 0 and at most 1"):
                TransformersPolicy(kv_memory=share)

    def test_a_text_for_which_kv_memory_does_not_suffice_is_refused_by_name_and_others_go_on(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("langchain_darwin.inference.memory.budget.free_bytes", lambda _: 400_000)
        policy = TransformersPolicy(str(tiny_model("mistral", tmp_path)), dtype="float32", device="cpu")
        with pytest.raises(ContextOverflowError, match=r"context of 255 tokens.* raise kv_memory=0\.5"):
            policy.submit([Job((20,) * 255, 255, GREEDY, 0)])
        free = Sampling(max_tokens=300, min_tokens=300)
        whole, *others = [Job((20 + i,) * 200, 200, free, i) for i in range(4)]
        growths = policy.submit([whole, *others]).result(60)
        assert [(len(growth.tokens), growth.finish) for growth in growths] == [(55, "length")] * 4

    def test_kv_memory_warns_where_it_has_no_effect(self, tmp_path):
        policy = TransformersPolicy(str(tiny_model("lfm2", tmp_path)), dtype="float32", device="cpu", kv_memory=0.2)
        with pytest.warns(UserWarning, match=r"kv_memory=0\.2 has no effect on lfm2"):
            policy.submit([Job((20,), 1, GREEDY, 0)]).result(60)

    def test_many_short_texts_and_a_few_long_ones_are_decoded_within_the_budget(self, tmp_path, monkeypatch):
        monkeypatch.setattr(length_classes, "_SHORTEST_CLASS", 128)
        monkeypatch.setattr("langchain_darwin.inference.memory.budget.free_bytes", lambda _: 16 << 20)
        policy = TransformersPolicy(str(tiny_model("qwen3", tmp_path)), dtype="float32", device="cpu")
        store, sizes = the_engine(policy)._rows.store, []
        step = store.step
        monkeypatch.setattr(store, "step", lambda *new: (sizes.append((store.bytes, len(store.live))), step(*new))[1])
        lengths = [450] * 3 + [40] * 48
        sampling = Sampling(max_tokens=8, min_tokens=8)
        searches = [[Job((20 + i,) * n, n, sampling, key) for key in range(5)] for i, n in enumerate(lengths)]
        growths = [growth for future in [*map(policy.submit, searches)] for growth in future.result(120)]
        assert [len(growth.tokens) for growth in growths] == [8] * 255
        assert max(used for used, _ in sizes) <= 8 << 20
        assert max(live for _, live in sizes) >= 30

    def test_policies_of_one_model_share_its_thread(self, policy):
        other = TransformersPolicy(policy.model, dtype="float32", device="cpu")
        assert other._running() is policy._running()

    def test_a_pickled_policy_loads_anew(self, policy):
        policy.submit([Job((20,), 1, GREEDY, 0)]).result(60)
        copy = pickle.loads(pickle.dumps(policy))
        assert (copy._loaded, copy._loop) == (None, None)
        assert copy.submit([Job((20,), 1, GREEDY, 0)]).result(60) == [
            Growth(*fields(policy.submit([Job((20,), 1, GREEDY, 0)]).result(60)[0]))
        ]

    def test_more_jobs_than_rows_wait_their_turn(self):
        loaded = TransformersPolicy(str(cached_tiny_model("qwen3")), dtype="float32", device="cpu", max_rows=2)
        jobs = [Job((20 + i, 30), 2, FREE, i) for i in range(7)]
        together = loaded.submit(jobs).result(60)
        assert [g.tokens for g in together] == [loaded.submit([job]).result(60)[0].tokens for job in jobs]
        proposals = loaded.propose([job.prefix for job in jobs], 2).result(60)
        assert [type(proposal) for proposal in proposals] == [Proposal] * 7

    def test_what_is_begun_goes_before_what_is_new(self):
        policy = TransformersPolicy(str(cached_tiny_model("qwen3")), dtype="float32", device="cpu", max_rows=1)
        live, go_on = held_text(policy)
        order = []
        jobs = {
            "new": Job((20, 30), 2, FREE, 1),
            "later": Job((22, 30), 2, FREE, 2),
            "begun": Job((21, 30), 1, FREE, 3),
        }
        told = {name: lambda *_, name=name: order.append(name) for name in jobs}
        futures = [policy.submit([job], told[name]) for name, job in jobs.items()]
        go_on()
        for future in [live, *futures]:
            future.result(60)
        assert list(dict.fromkeys(order)) == ["begun", "new", "later"]

    def test_nothing_asked_is_answered(self, policy):
        assert policy.propose([], 2).result(60) == []

    def test_proposals_take_part_in_the_steps_of_texts(self, policy, monkeypatch):
        asked = [(20, 21, 22), (20, 21, 23)]
        policy.propose([(20, 21)], 1).result(60)
        alone = policy.propose(asked, 4).result(60)
        store, sizes = the_engine(policy)._rows.store, []
        compute = store._passes._forward
        monkeypatch.setattr(
            store._passes,
            "_forward",
            lambda inputs, cache: (sizes.append(tuple(inputs.ids.shape)), compute(inputs, cache))[1],
        )
        text, go_on = held_text(policy)
        sizes.clear()
        question = policy.propose(asked, 4)
        go_on()
        together = question.result(60)
        assert len(text.result(60)[0].tokens) == 40
        assert (3, 1) in sizes
        assert set(sizes) <= {(1, 1), (3, 1)}
        for one, other in zip(together, alone, strict=True):
            assert one.tokens == other.tokens
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)

    def test_questions_wait_out_a_shortage_of_memory_or_fail_with_the_step(self, policy, monkeypatch):
        asked = [(20, 21, 22), (20, 21, 23)]
        alone = policy.propose(asked, 4).result(60)
        for error, failed in ((torch.OutOfMemoryError("full"), False), (RuntimeError("a broken kernel"), True)):
            text, go_on = held_text(policy)
            monkeypatch.setattr(the_engine(policy)._rows.store, "step", fail(error))
            question = policy.propose(asked, 4)
            go_on()
            if failed:
                with pytest.raises(PolicyError, match="a broken kernel"):
                    question.result(60)
                with pytest.raises(PolicyError, match="a broken kernel"):
                    text.result(60)
            else:
                assert [each.tokens for each in question.result(60)] == [each.tokens for each in alone]
                assert len(text.result(60)[0].tokens) == 40
            monkeypatch.undo()

    def test_a_failing_step_fails_what_is_live_and_nothing_later(self, policy, monkeypatch):
        engine = the_engine(policy)
        [expected] = policy.submit([Job((20, 21), 2, FREE, 3)]).result(60)
        monkeypatch.setattr(engine._rows.store, "step", fail(RuntimeError("a broken kernel")))
        with pytest.raises(PolicyError, match="a broken kernel") as caught:
            policy.submit([Job((20, 21), 2, FREE, 3)]).result(60)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert policy.submit([Job((20, 21), 2, FREE, 3)]).result(60)[0].tokens == expected.tokens

    def test_shortage_of_memory_is_waited_out(self, policy, monkeypatch):
        jobs = [Job((40 + i, 30), 2, FREE, i) for i in range(4)]
        expected = [growth.tokens for growth in policy.submit(jobs).result(60)]
        rows = the_engine(policy)._rows
        monkeypatch.setattr(rows.store, "step", fail(torch.OutOfMemoryError("full")))
        assert [growth.tokens for growth in policy.submit(jobs).result(60)] == expected
        monkeypatch.setattr(rows.store, "open", fail(torch.OutOfMemoryError("full")))
        assert [growth.tokens for growth in policy.submit(jobs).result(60)] == expected

    def test_memory_that_never_suffices_is_an_error(self, policy, monkeypatch):
        rows = the_engine(policy)._rows
        make = rows._make_store

        def full():
            store = make()
            store.open = fail(torch.OutOfMemoryError("full"))
            return store

        monkeypatch.setattr(rows, "_make_store", full)
        monkeypatch.setattr(rows.store, "open", fail(torch.OutOfMemoryError("full")))
        with pytest.raises(PolicyError, match="full"):
            policy.submit([Job((20,), 1, FREE, 0)]).result(60)
        monkeypatch.undo()
        assert len(policy.submit([Job((20,), 1, FREE, 0)]).result(60)[0].tokens) == 12

    def test_an_on_tokens_that_raises_fails_its_submit_only(self, policy):
        fine = policy.submit([Job((20,), 1, FREE, 0)])
        with pytest.raises(PolicyError, match="on_tokens"):
            policy.submit([Job((21,), 1, FREE, 0)], fail(ZeroDivisionError("theirs"))).result(60)
        assert len(fine.result(60)[0].tokens) == 12

    def test_a_grammar_is_followed_and_closed_in_time(self, policy):
        schema = {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}
        rule = Constraint("json_schema", json.dumps({**schema, "required": ["a", "n"]}))
        hot = Sampling(temperature=3.0, max_tokens=48, min_tokens=48, constraint=rule)
        growths = policy.submit([Job((20,), 1, hot, key) for key in range(4)]).result(60)
        answers = [json.loads(policy.codec.decode(growth.tokens)) for growth in growths]
        assert [{key: type(value) for key, value in answer.items()} for answer in answers] == [{"a": str, "n": int}] * 4

    @pytest.mark.parametrize("period", [None, 3], ids=["whole", "in parts"])
    def test_what_a_grammar_had_to_close_ends_by_its_length(self, policy, period):
        def finish(pattern):
            sampling = Sampling(temperature=3.0, max_tokens=24, constraint=Constraint("regex", pattern))
            prefix, growth = (20,), None
            while growth is None or growth.finish is None:
                [growth] = policy.submit([Job(prefix, 1, sampling, 5, tokens=period)]).result(60)
                prefix += growth.tokens
            return prefix[-1] in policy.codec.end_ids, growth.finish

        assert [finish("[a-z]{4}"), finish("[a-z ]*QXXXXXXXX")] == [(True, "stop"), (True, "length")]

    def test_a_grammar_goes_on_where_it_stopped(self, policy):
        rule = Constraint("regex", "[a-z]{30}")
        sampling = Sampling(temperature=1.0, max_tokens=64, constraint=rule)
        [whole] = policy.submit([Job((20,), 1, sampling, 5)]).result(60)
        prefix: tuple[int, ...] = (20,)
        logprob = 0.0
        while prefix[-1] not in policy.codec.end_ids:
            [part] = policy.submit([Job(prefix, 1, sampling, 5, tokens=4)]).result(60)
            prefix, logprob = prefix + part.tokens, logprob + part.logprob
        assert prefix[1:] == whole.tokens
        assert logprob == pytest.approx(whole.logprob, abs=1e-3)

    def test_a_grammar_leaves_other_rows_alone(self, policy):
        alone = policy.submit([Job((20,), 1, FREE, 0)]).result(60)
        bound = Sampling(constraint=Constraint("regex", "[a-z]{20}"))
        beside = policy.submit([Job((20,), 1, bound, 1), Job((20,), 1, FREE, 0)]).result(60)
        assert beside[1].tokens == alone[0].tokens

    def test_a_text_off_its_grammar_fails_alone(self, policy):
        bound = Sampling(constraint=Constraint("regex", "[a-z]{20}"))
        capital = policy.codec.encode_text("X")
        with pytest.raises(InvalidRequestError, match="regex"):
            policy.submit([Job((20, *capital), 1, bound, 0)]).result(60)
        assert policy.submit([Job((20,), 1, bound, 0)]).result(60)[0].finish == "stop"

    def test_a_grammar_that_cannot_be_read_is_refused_at_once(self, policy):
        with pytest.raises(InvalidRequestError, match="regex"):
            policy.submit([Job((20,), 1, Sampling(constraint=Constraint("regex", "(")), 0)])

    def test_the_thread_ends_when_its_work_is_done_and_nobody_can_add_any(self, policy):
        loaded = policy._load()
        store = functools.partial(KVSlots, loaded.model, 2)
        before = set(threading.enumerate())
        grammars = fail(AssertionError("no text here has a grammar"))
        loop = DecodeLoop(store, loaded.codec, loaded.context_length, loaded.device, grammars)
        [thread] = set(threading.enumerate()) - before
        future = loop.submit([Job((20,), 1, FREE, 0)], None)
        del loop
        assert thread in decode_loop._process.get().threads  # at exit it is waited for, with or without its batch
        assert len(future.result(60)[0].tokens) == 12
        thread.join(10)
        assert not thread.is_alive()


def fields(growth):
    return growth.tokens, growth.logprob, growth.finish, growth.prefilled, growth.reused


def the_engine(policy):
    return policy._running()._engine


def held_text(policy):
    """A text of 40 tokens whose decoding waits after its first one, and a function that lets it go on."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_):
        begun.set()
        go_on.wait(60)

    text = policy.submit([Job((60, 61), 2, Sampling(max_tokens=40, min_tokens=40), 0)], wait)
    assert begun.wait(60)
    return text, go_on.set


def fail(error):
    def raising(*_, **__):
        raise error

    return raising
