"""The scripted policy keeps the promises that every policy makes."""

from __future__ import annotations

import json
import math
import pickle
import time

import pytest
from langchain_core.messages import AIMessage

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Job, Policy, Sampling
from langchain_darwin.rewards import as_reward
from langchain_darwin.testing import ScriptedPolicy, WordCodec, keyword_reward

CODEC = WordCodec()
PROMPT = CODEC.encode_chat([{"role": "user", "content": "Write a line"}])


def job(key=0, said="", tokens=None, deadline=None, prompt=PROMPT, **sampling):
    prefix = prompt + CODEC.encode_text(said)
    return Job(prefix, len(prompt), Sampling(**sampling), key, tokens, deadline)


def grow(policy, *jobs):
    return policy.submit(jobs).result(timeout=10)


def says(policy, **options):
    return CODEC.decode(grow(policy, job(**options))[0].tokens)


class TestCodec:
    @pytest.mark.parametrize("text", ["", " ", "a", " a\n\n b\t", "ünïcode 你好 🙂", "</s><|im_end|>", "x" * 99])
    def test_decoding_gives_the_text_back(self, text):
        assert CODEC.decode(CODEC.encode_text(text)) == text

    def test_a_word_is_a_token(self):
        assert len(CODEC.encode_text("one two\nthree ")) == 4
        assert CODEC.encode_text("one two")[0] == CODEC.encode_text("one")[0]

    def test_text_cannot_pass_for_marks(self):
        assert CODEC.end_ids.isdisjoint(CODEC.encode_text("\x00 \x01 assistant: </s>"))

    def test_a_prompt_can_be_read_back(self):
        tools = [{"name": "weather", "parameters": {}}]
        turns = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"name": "weather"}]},
            {"role": "tool", "content": "rain"},
        ]
        text, found = CODEC.read_chat(CODEC.encode_chat(turns, tools))
        assert found == tools
        assert text == ('system: Be kind.\nuser: Hi\nassistant: \n[{"name": "weather"}]\ntool: rain\nassistant:')

    def test_unknown_roles_are_refused(self):
        with pytest.raises(ConfigurationError, match="role='robot'"):
            CODEC.encode_chat([{"role": "robot", "content": ""}])


class TestDrawing:
    def test_it_is_a_policy(self):
        assert isinstance(ScriptedPolicy(), Policy)

    @pytest.mark.parametrize("respond", [None, lambda chat, tools: ["a b c d e f g", "h i j"]])
    def test_two_grows_equal_one_and_a_batch_equals_one_by_one(self, respond):
        policy = ScriptedPolicy(respond)
        jobs = [job(key=key) for key in range(5)]
        whole = grow(policy, *jobs)
        assert whole == [grow(policy, one)[0] for one in jobs]
        for one, growth in zip(jobs, whole, strict=True):
            first = grow(policy, Job(one.prefix, one.start, one.sampling, one.key, tokens=2))[0]
            assert first.finish is None
            second = grow(policy, Job(one.prefix + first.tokens, one.start, one.sampling, one.key))[0]
            assert first.tokens + second.tokens == growth.tokens
            assert first.logprob + second.logprob == pytest.approx(growth.logprob)

    def test_keys_differ_and_repeat(self):
        policy = ScriptedPolicy()
        assert len({says(policy, key=key) for key in range(20)}) == 20
        assert says(policy, key=3) == says(ScriptedPolicy(), key=3)

    def test_temperature_zero_takes_the_likeliest(self):
        policy = ScriptedPolicy()
        growth = grow(policy, job(temperature=0, max_tokens=5))[0]
        prefix = PROMPT
        for token in growth.tokens:
            assert policy.propose([prefix], 1).result()[0].tokens == (token,)
            prefix += (token,)
        assert grow(policy, job(key=9, temperature=0, max_tokens=5)) == [growth]

    def test_proposals_are_a_distribution(self):
        (proposal,) = ScriptedPolicy().propose([PROMPT], 99).result()
        assert math.fsum(map(math.exp, proposal.logprobs)) == pytest.approx(1)
        assert list(proposal.logprobs) == sorted(proposal.logprobs, reverse=True)
        few = ScriptedPolicy().propose([PROMPT], 99, among=proposal.tokens[3:5]).result()[0]
        assert few.tokens == proposal.tokens[3:5]
        assert few.logprobs == proposal.logprobs[3:5]

    def test_limits(self):
        policy = ScriptedPolicy()
        assert [len(g.tokens) for g in grow(policy, job(max_tokens=3), job(tokens=2), job(tokens=0))] == [3, 2, 0]
        assert grow(policy, job(max_tokens=3))[0].finish == "length"
        assert grow(policy, job(max_tokens=3, tokens=3))[0].finish == "length"
        tight = grow(ScriptedPolicy(context_length=len(PROMPT) + 4), job())[0]
        assert (len(tight.tokens), tight.finish) == (4, "length")

    def test_min_tokens(self):
        short = ScriptedPolicy(lambda chat, tools: "a b")
        growth = grow(short, job(min_tokens=6))[0]
        assert len(growth.tokens) == 7
        assert growth.finish == "stop"

    def test_stop_strings_across_words(self):
        policy = ScriptedPolicy(lambda chat, tools: "one two three four")
        assert says(policy, stop=("o thr",)) == "one two three"
        assert grow(policy, job(stop=("o thr",)))[0].finish == "stop"
        assert says(policy, stop=("two",), min_tokens=3) == "one two three four"

    def test_deadline(self):
        slow = ScriptedPolicy(seconds_per_token=0.01)
        growth = grow(slow, job(deadline=time.monotonic() + 0.05))[0]
        assert growth.finish == "timeout"
        assert grow(slow, job(deadline=time.monotonic() - 1))[0].tokens == ()

    def test_cancelling_ends_the_work(self):
        told = []
        slow = ScriptedPolicy(seconds_per_token=0.01, length=1000)
        future = slow.submit([job()], lambda index, tokens: told.append(tokens))
        time.sleep(0.05)
        assert future.cancel()
        time.sleep(0.05)
        seen = len(told)
        time.sleep(0.05)
        assert len(told) == seen

    def test_tokens_are_told_as_they_come(self):
        told = {0: (), 1: ()}
        future = ScriptedPolicy().submit(
            [job(key=1), job(key=2)], lambda index, tokens: told.update({index: told[index] + tuple(tokens)})
        )
        grown = future.result()
        assert list(told.values()) == [growth.tokens for growth in grown]


class TestScripts:
    def test_a_script_sees_conversation_and_tools_and_is_followed(self):
        def respond(conversation, tools):
            assert conversation == "user: Oslo?\nassistant:"
            return json.dumps({"name": tools[0]["name"], "arguments": {"city": "Oslo"}})

        prompt = CODEC.encode_chat([{"role": "user", "content": "Oslo?"}], [{"name": "weather"}])
        said = says(ScriptedPolicy(respond), prompt=prompt)
        assert json.loads(said) == {"name": "weather", "arguments": {"city": "Oslo"}}

    def test_several_answers_are_shared_out_by_key(self):
        policy = ScriptedPolicy(lambda chat, tools: ["yes", "no"])
        assert [says(policy, key=key) for key in range(4)] == ["yes", "no", "yes", "no"]

    def test_none_draws(self):
        assert says(ScriptedPolicy(lambda chat, tools: None)) == says(ScriptedPolicy())

    def test_a_failing_script_fails_the_future(self):
        policy = ScriptedPolicy(lambda chat, tools: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            grow(policy, job())
        with pytest.raises(ZeroDivisionError):
            policy.propose([PROMPT], 1).result()

    def test_scripted_words_are_certain(self):
        policy = ScriptedPolicy(lambda chat, tools: "yes")
        assert grow(policy, job())[0].logprob == 0
        assert policy.propose([PROMPT], 1).result()[0].tokens == CODEC.encode_text("yes")


def test_identity_tells_scripts_apart():
    said = ["a", "b"]
    one, other = (ScriptedPolicy(lambda chat, tools, text=text: text) for text in said)  # type: ignore[misc]
    assert json.dumps(one.identity()) != json.dumps(other.identity())
    assert ScriptedPolicy().identity() == ScriptedPolicy().identity() != ScriptedPolicy(length=9).identity()


def test_it_can_be_compared_and_pickled():
    assert pickle.loads(pickle.dumps(ScriptedPolicy())) == ScriptedPolicy()


@pytest.mark.parametrize("fields", [{"words": ()}, {"words": ("two words",)}, {"length": 0}])
def test_bad_policies_are_refused(fields):
    with pytest.raises(ConfigurationError):
        ScriptedPolicy(**fields)


def test_keyword_reward_counts_whole_words():
    reward = keyword_reward("sea", "old road")
    texts = ["The Sea, the sea", "seaside", "an OLD road", ""]
    assert reward([], [AIMessage(text) for text in texts]) == [2, 0, 1, 0]
    assert reward == keyword_reward("sea", "old road")
    assert as_reward(reward).name == "keyword_reward"
    with pytest.raises(ConfigurationError):
        keyword_reward()
