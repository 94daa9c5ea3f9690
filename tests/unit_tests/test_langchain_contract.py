"""What LangChain expects of a chat model beyond its standard tests: one test for each known trap.

| test | trap |
|---|---|
| test_chat_models::test_wrong_arguments_are_refused_by_name | misspelt init arguments are dropped silently |
| TestSettings::test_traces_name_our_version | the version stamp, whose validator is replaced by one of the same name |
| test_chat_models::test_tokens_are_counted_by... | token counting downloads GPT-2 and ignores tools |
| TestSettings::test_messages_are_trimmed_by_the_models_own_count | trimming counts with the model |
| TestSettings::test_invocation_parameters_are_json | invocation parameters hold objects and callables |
| TestSettings::test_langsmith_parameters_follow_the_call | LangSmith parameters ignore arguments of a call |
| TestProfile | profile: loads weights, unknown keys, slow construction |
| TestProfile::test_the_hub_is_not_asked, test_a_hub_model_is_known_from_the_local_cache | profile asks the network |
| test_chat_models::test_a_batch_runs_all_its_searches_at_once | batch runs six at a time |
| TestCalls::test_a_batch_keeps_to_the_users_limit | batch with a limit of the user's |
| TestCalls::test_failures_in_a_batch_can_be_returned | one failure ends a batch |
| TestCalls::test_several_prompts_in_one_generate | `generate` and `agenerate` of several prompts |
| TestStreaming::test_modes_that_stream_inside_invoke | `_generate` and `_stream` must agree in all modes |
| TestStreaming::test_the_stream_argument | the `stream` argument of a call |
| TestStreaming::test_disabled_streaming, test_disabled_for_tools | `disable_streaming`, also for tools only |
| TestStreaming::test_tokens_are_told_once | callbacks get each token once, with and without a run manager |
| integration test_cancellation; TestStreaming::test_a_closed_stream_tells_callbacks | closing a stream early |
| TestChunks::test_facts_are_on_the_last_chunk_only | merging chunks doubles strings, sums ints, refuses floats |
| TestChunks::test_facts_are_on_the_last_chunk_only | usage on one chunk only |
| test_tools::TestStreaming::test_blocks_of_version_1_do_not_collide | tool-call indices collide with text |
| TestReasoning | reasoning beside the text, in all versions |
| TestChunks::test_the_last_chunk_says_so | the last chunk says so |
| test_tools::TestReading | tool calls without an id vanish; bad JSON must not raise |
| TestEvents | v3 events: order, projections, start metadata, output |
| TestReasoning::test_its_tokens_are_counted | usage details are ints and sum to at most the total |
| TestCalls::test_generations_have_ids_and_rewards | several generations, best first, each with its facts |
| TestCalls::test_usage_callbacks | usage callbacks count a search once |
| TestCalls::test_generations_have_ids_and_rewards, TestChunks::test_all_chunks_have_the_runs_id | message ids |
| TestCopies | pickle, deepcopy, also of bound models; never serialised |
| TestCache | the cache: key, replay, streams, tools, stop=[] |
| test_chat_models::test_two_closures_do_not_share_a_cache_key | two closures of one function share a key |
| test_tools, test_structured_output | tool_choice, strict, parallel_tool_calls, response_format |
| test_chat_models::test_stop_strings_of_a_call_replace_those_of_the_model | `stop` in field and call |
| test_standard | `model=` in a call |
| TestSettings::test_a_schema_reaches_traces_and_not_the_model | `ls_structured_output_format` is for traces only |
| TestCalls::test_one_model_in_several_event_loops | shared by threads and event loops |
| TestCalls::test_the_global_random_state_is_left_alone | seeds of other code |
| TestCalls::test_rewards_see_the_callers_context_variables | context variables end at a thread's border |
| TestErrors | errors: the right family, retried or not |
| integration test_cancellation | cancelling |
| test_cancelling::TestBatch, integration test_cancellation | a batch left early goes on in its threads |
| test_cancelling::TestThreadsOfOthers | so do threads of LangGraph and LangChain |
| TestCalls::test_the_event_loop_is_never_blocked; integration test_cancellation | no blocking call on the event loop |
| test_callbacks; TestEvents::test_events_of_the_search_come_with_v3 | progress events on every surface |
| test_agents::TestForms::test_a_schema_is_enforced_by_the_model_as_its_profile_says | `model` need not be text |
| test_callbacks | a judge's tokens leak into the stream; its place in traces |
| TestCopies::test_configured_calls_share_the_loaded_model | configurable fields re-create the model on every call |
| TestCalls::test_the_rate_limiter_is_asked | the rate limiter |
| test_chat_codec::test_control_tokens_in_messages_stay_text | control tokens in a user's text |
| test_chat_codec::test_no_second_bos, test_encode_text_adds_no_bos | BOS twice |
| test_chat_codec::test_runs_of_a_role_are_merged_if_refused... | templates that want alternation |
| test_chat_codec::test_system_text_is_folded_into_the_first_user_turn_if_refused | templates without a system role |
| test_messages::test_a_failed_tool_says_so_once | a tool's error status is lost |
| test_messages::test_reasoning_goes_where_templates_look_for_it | reasoning in histories is lost or doubled |
| test_messages::test_what_a_text_model_cannot_read_is_refused_by_place_and_type | images are dropped silently |
| test_messages::test_every_kind_of_message_has_its_turn; test_tools | arguments of calls in histories are JSON text |
| test_tools::TestDialects | tools are dropped by templates that know of none; no response template |
| test_tools::TestReading::test_reasoning_that_the_prompt_opened | a thought that the prompt began |
| test_argument_types | "7" for 7 |
| test_tools::TestReading::test_a_cut_call_is_invalid_when_done_and_unknown_before | a call cut by max_tokens raises |
| test_tools::TestReading::test_a_semicolon_in_a_string_ends_no_llama_call | delimiters within strings |
| policies/test_grammar::test_tokens_already_decoded_are_replayed_forked_or_rolled_back | a copied beam's grammar |
| policies/grammar/test_shortest_completion | enforced texts cut by max_tokens |
| policies/test_matcher; integration test_tools::test_what_had_to_be_closed_says_so | closed early in silence |
| test_thinking | enforced calls leave no room to think |
| policy_contract (policies/test_transformers): stop strings across token borders | stop strings of several tokens |
| test_agents, test_middleware | agents: `create_agent` with each strategy, streams, middleware, retries, summaries |
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import json
import pickle
import random
import threading
import time
import timeit

import pytest
import torch
from blockbuster import blockbuster_ctx
from langchain_core import exceptions as lc
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models import ModelProfile
from langchain_core.load import dumpd
from langchain_core.messages import AIMessageChunk, HumanMessage, trim_messages
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from langchain_darwin import BestOfN, ChatDarwin, Darwin, errors
from langchain_darwin.dialects.dialect import dialect_of
from langchain_darwin.inference.embedded_model import CONTEXT_LENGTH
from langchain_darwin.testing import ScriptedPolicy, keyword_reward
from tests.tiny_models import cached_tiny_model

QUESTION = "Write a line"
TOOL = {
    "name": "add",
    "description": "Add.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}


def chat(**fields):
    defaults = {"model": ScriptedPolicy(), "reward": keyword_reward("sea"), "search": BestOfN(n=3), "seed": 1}
    return ChatDarwin(**{**defaults, "max_tokens": 60, **fields})


def think(conversation, tools):
    return "<think>\nLet me see.\n</think>\n\nThe old sea."


def thinking(**fields):
    return chat(model=ScriptedPolicy(think), response_template="hermes", **fields)


def joined(chunks):
    first, *rest = chunks
    return sum(rest, first)


class Listener(BaseCallbackHandler):
    def __init__(self):
        self.tokens, self.chunks, self.errors, self.starts, self.ends = [], [], [], [], []

    def on_chat_model_start(self, serialized, messages, *, metadata=None, invocation_params=None, **kwargs):
        self.starts.append((metadata, invocation_params))

    def on_llm_new_token(self, token, *, chunk=None, **kwargs):
        self.tokens.append(token)
        self.chunks.append(chunk)

    def on_llm_error(self, error, **kwargs):
        self.errors.append(error)

    def on_llm_end(self, response, **kwargs):
        self.ends.append(response)


class TestSettings:
    def test_traces_name_our_version(self):
        assert "langchain-darwin" in chat().metadata["lc_versions"]

    def test_invocation_parameters_are_json(self):
        listener = Listener()
        model = chat(on_search_event=print, reward=lambda messages, responses: [0.0] * len(responses))
        model.bind_tools([TOOL]).invoke(QUESTION, config={"callbacks": [listener]})
        ((_, params),) = listener.starts
        assert json.loads(json.dumps(params))["search"]["search"] == "BestOfN"
        assert "darwin_run" not in params

    def test_langsmith_parameters_follow_the_call(self):
        listener = Listener()
        chat(stop=["x"]).invoke(
            QUESTION,
            {"callbacks": [listener]},
            temperature=0.1,
            max_tokens=7,
            stop=["."],
            model=ScriptedPolicy(name="b"),
        )
        ((metadata, _),) = listener.starts
        expected = {"ls_provider": "darwin", "ls_model_name": "b", "ls_model_type": "chat"}
        assert {name: value for name, value in metadata.items() if name.startswith("ls_")} == {
            **expected,
            "ls_integration": "langchain_chat_model",
            "ls_temperature": 0.1,
            "ls_max_tokens": 7,
            "ls_stop": ["."],
        }

    def test_a_schema_reaches_traces_and_not_the_model(self):
        seen = []

        class Options(BaseCallbackHandler):
            def on_chat_model_start(self, serialized, messages, *, options, **kwargs):
                seen.append(options["ls_structured_output_format"]["schema"])

        form = {"title": "Hill", "type": "object", "properties": {"name": {"type": "string"}}}
        model = chat(model=ScriptedPolicy(lambda conversation, tools: '{"name": "Gausta"}'))
        for method in ("json_schema", "json_mode"):
            model.with_structured_output(form, method=method).invoke(QUESTION, {"callbacks": [Options()]})
        assert seen == [convert_to_json_schema(form)] * 2

    def test_messages_are_trimmed_by_the_models_own_count(self):
        messages = [HumanMessage(f"message number {i}") for i in range(9)]
        kept = trim_messages(messages, max_tokens=13, token_counter=chat(), strategy="last")
        assert [message.text[-1] for message in kept] == ["7", "8"]  # 3 words and 2 marks each, and the answer's mark

    def test_a_call_may_be_configured(self):
        answer = chat().with_config(tags=["a"], run_name="named").invoke(QUESTION)
        assert answer.text == chat().invoke(QUESTION).text


class TestProfile:
    @pytest.fixture
    def hub_cache(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    def test_a_policy_says_what_it_knows(self):
        profile = chat(model=ScriptedPolicy(context_length=99)).profile
        assert (profile["name"], profile["max_input_tokens"]) == ("scripted", 99)

    def test_the_embedded_model_is_known(self):
        profile = ChatDarwin().profile
        assert profile["max_input_tokens"] == CONTEXT_LENGTH
        wanted = ("tool_calling", "tool_choice", "structured_output", "tool_call_streaming", "temperature")
        assert all(profile[name] for name in (*wanted, "text_inputs", "text_outputs", "open_weights"))

    def test_a_folder_is_read_and_agrees_with_the_loaded_model(self):
        model = ChatDarwin(model=str(cached_tiny_model("llama")))
        assert model.profile["max_input_tokens"] == model.policy_of(model.model)[0].context_length == 512

    def test_a_nested_text_config_is_read(self, tmp_path):
        (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 77}}')
        (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
        assert ChatDarwin(model=tmp_path).profile["max_input_tokens"] == 77

    @pytest.mark.parametrize("content", ["", "[]", '{"text_config": 3}'])
    def test_what_cannot_be_read_is_not_known(self, content, tmp_path):
        (tmp_path / "config.json").write_text(content)
        assert "max_input_tokens" not in ChatDarwin(model=tmp_path).profile

    def test_the_hub_is_not_asked(self, hub_cache):
        assert ChatDarwin(model="some/model").profile.keys() == ChatDarwin(model="other/model").profile.keys()
        assert not {"max_input_tokens", "reasoning_output"} & ChatDarwin(model="some/model").profile.keys()

    def test_a_hub_model_is_known_from_the_local_cache(self, hub_cache):
        snapshot = hub_cache / "models--some--model" / "snapshots" / "0123abc"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text('{"max_position_embeddings": 40960}')
        (snapshot / "chat_template.jinja").write_text("{{ '<think>' }}")
        refs = hub_cache / "models--some--model" / "refs"
        refs.mkdir()
        (refs / "main").write_text("0123abc\n")
        known = {"max_input_tokens": 40960, "reasoning_output": True}
        for revision, expected in ((None, known), ("main", known), ("0123abc", known), ("other", {})):
            profile = ChatDarwin(model="some/model", revision=revision).profile
            assert {name: profile[name] for name in known if name in profile} == expected

    @pytest.mark.parametrize(
        ("config", "thinks"),
        [
            ({"chat_template": "{{ messages }}<think>"}, True),
            ({"chat_template": [{"name": "default", "template": "<think>"}]}, True),
            ({"chat_template": "{{ messages }}[THINK]"}, True),
            ({"chat_template": "{{ messages }}"}, False),
            ({"chat_template": "x", "response_template": {"fields": {"reasoning_content": {"open": "["}}}}, True),
            ({"chat_template": "x", "response_template": {"fields": {"content": {}}}}, False),
            ({}, None),
        ],
    )
    def test_the_chat_template_tells_of_reasoning(self, config, thinks, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        assert ChatDarwin(model=tmp_path).profile.get("reasoning_output") is thinks

    def test_it_agrees_with_what_is_read(self):
        model = ChatDarwin(model=str(cached_tiny_model("llama")))
        assert model.profile["reasoning_output"] == dialect_of(model.policy_of(model.model)[0].codec).reasons is False

    def test_it_has_no_unknown_key(self):
        assert set(chat().profile) | set(ChatDarwin().profile) <= set(ModelProfile.__annotations__)

    def test_the_users_own_comes_first(self):
        assert ChatDarwin(profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}

    def test_without_a_grammar_library_nothing_is_promised(self, monkeypatch):
        monkeypatch.setattr("langchain_darwin.policies.local.policy.has_xgrammar", lambda: False)
        profile = ChatDarwin().profile
        assert (profile["structured_output"], profile["tool_choice"], profile["tool_calling"]) == (False, False, True)

    def test_construction_is_cheap(self):
        """A third of a millisecond alone on a machine; the room is for slow machines and for coverage's tracing."""
        ChatDarwin()
        seconds = timeit.repeat(ChatDarwin, timer=time.thread_time, number=20, repeat=5)
        assert min(seconds) / 20 < 0.005


class TestCalls:
    def test_a_batch_keeps_to_the_users_limit(self):
        running, most, lock = 0, 0, threading.Lock()

        def respond(conversation, tools):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with lock:
                running -= 1
            return "The sea."

        model = chat(model=ScriptedPolicy(respond), search=BestOfN(n=1))
        model.batch([QUESTION] * 8, {"max_concurrency": 2})
        assert most <= 2

    async def test_failures_in_a_batch_can_be_returned(self):
        questions = [QUESTION, "word " * 50, QUESTION]
        model = chat(model=ScriptedPolicy(context_length=40))
        for answers in (
            model.batch(questions, return_exceptions=True),
            await model.abatch(questions, return_exceptions=True),
        ):
            assert isinstance(answers[1], errors.ContextOverflowError)
            assert answers[0].text == answers[2].text

    async def test_several_prompts_in_one_generate(self):
        prompts = [[HumanMessage(QUESTION)], [HumanMessage("Sing")]]
        one = chat().generate(prompts)
        other = await chat().agenerate(prompts)
        assert [g[0].text for g in one.generations] == [g[0].text for g in other.generations]
        assert one.generations[0][0].text == chat().invoke(QUESTION).text

    def test_generations_have_ids_and_rewards(self):
        (generations,) = chat(n=3).generate([[HumanMessage(QUESTION)]]).generations
        ids = [generation.message.id for generation in generations]
        assert [ident[-2:] for ident in ids] == ["-0", "-1", "-2"]
        assert {ident[:-2] for ident in ids} == {ids[0][:-2]}
        rewards = [generation.message.response_metadata["darwin"]["reward"] for generation in generations]
        assert rewards == sorted(rewards, reverse=True)

    def test_usage_callbacks(self):
        with get_usage_metadata_callback() as usage:
            answer = chat().invoke(QUESTION)
            streamed = joined(chat().stream(QUESTION))
        total = answer.usage_metadata["total_tokens"] + streamed.usage_metadata["total_tokens"]
        assert usage.usage_metadata["scripted"]["total_tokens"] == total

    def test_the_rate_limiter_is_asked(self):
        class Counting(InMemoryRateLimiter):
            asked = 0

            def acquire(self, *, blocking=True):
                type(self).asked += 1
                return True

        model = chat(rate_limiter=Counting())
        model.invoke(QUESTION)
        list(model.stream(QUESTION))
        assert Counting.asked == 2

    def test_one_model_in_several_event_loops(self):
        model = chat(model=str(cached_tiny_model("llama")), max_tokens=6, search=BestOfN(n=2))
        texts = {asyncio.run(model.ainvoke("hi")).text for _ in range(2)}
        found = []
        threads = [threading.Thread(target=lambda: found.append(asyncio.run(model.ainvoke("hi")).text)) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(texts | {*found}) == 1

    def test_the_global_random_state_is_left_alone(self):
        model = chat(model=str(cached_tiny_model("llama")), max_tokens=4, seed=None)
        state, draws = torch.get_rng_state(), random.getstate()
        model.invoke("hi")
        assert torch.equal(torch.get_rng_state(), state)
        assert random.getstate() == draws

    async def test_rewards_see_the_callers_context_variables(self):
        user = contextvars.ContextVar("user")
        seen = []

        def judge(messages, responses):
            seen.append(user.get())
            return [0.0] * len(responses)

        async def ajudge(messages, responses):
            return judge(messages, responses)

        user.set("Ada")
        chat(reward=judge).invoke(QUESTION)
        for reward in (judge, ajudge):
            await chat(reward=reward).ainvoke(QUESTION)
        chat(reward=judge).batch([QUESTION])
        assert set(seen) == {"Ada"}

    async def test_the_event_loop_is_never_blocked(self, tmp_path):
        async def judge(messages, responses):
            await asyncio.sleep(0)
            return [float(len(response.text)) for response in responses]

        model = chat(search=Darwin(period=5), reward=judge, trace=tmp_path / "t.jsonl").bind_tools([TOOL])
        with blockbuster_ctx("langchain_darwin"):
            answers = [await model.ainvoke(QUESTION), *await model.abatch([QUESTION, "Sing"])]
            streamed = [chunk async for chunk in model.astream(QUESTION)]
        assert joined(streamed).text == answers[0].text == answers[1].text


class TestStreaming:
    def test_modes_that_stream_inside_invoke(self):
        plain = chat().invoke(QUESTION)
        listener = Listener()
        streamed = chat(streaming=True).invoke(QUESTION, config={"callbacks": [listener]})
        assert streamed.text == plain.text
        assert "".join(listener.tokens) == plain.text
        assert {**streamed.response_metadata["darwin"], "seconds": 0} == {
            **plain.response_metadata["darwin"],
            "seconds": 0,
        }
        assert streamed.usage_metadata == plain.usage_metadata

    def test_the_stream_argument(self):
        listener = Listener()
        model = chat(search=BestOfN(n=1), cache=InMemoryCache())
        answer = model.invoke(QUESTION, {"callbacks": [listener]}, stream=True)
        assert len(listener.tokens) > 3
        assert model.invoke(QUESTION).text == answer.text
        assert len(model.cache._cache) == 1  # it is no other question
        assert model.invoke("Sing", stream=False).text

    def test_disabled_streaming(self):
        model = chat(disable_streaming=True)
        assert len(list(model.stream(QUESTION))) == 1

    async def test_disabled_for_tools(self):
        model = chat(disable_streaming="tool_calling", search=BestOfN(n=1))
        assert len(list(model.stream(QUESTION))) > 3
        bound = model.bind_tools([TOOL])
        assert len(list(bound.stream(QUESTION))) == 1
        assert len([chunk async for chunk in bound.astream(QUESTION)]) == 1

    async def test_tokens_are_told_once(self):
        model = chat(search=BestOfN(n=1))
        text = model.invoke(QUESTION).text
        listeners = [Listener(), Listener()]
        list(model.stream(QUESTION, config={"callbacks": [listeners[0]]}))
        [chunk async for chunk in model.astream(QUESTION, config={"callbacks": [listeners[1]]})]
        assert ["".join(listener.tokens) for listener in listeners] == [text, text]

    async def test_tokens_are_told_by_us_where_langchain_gives_a_run_manager(self):
        model = chat(search=BestOfN(n=1))
        listener = Listener()
        stream = model.stream_events(QUESTION, version="v3", config={"callbacks": [listener]})
        assert "".join(listener.tokens) == ""
        assert stream.output.text == "".join(listener.tokens)
        assert [chunk for chunk in listener.chunks if chunk is None] == []

    def test_a_closed_stream_tells_callbacks(self):
        listener = Listener()
        chunks = chat(search=BestOfN(n=1)).stream(QUESTION, config={"callbacks": [listener]})
        next(chunks)
        chunks.close()
        assert [type(error) for error in listener.errors] == [GeneratorExit]


class TestChunks:
    @pytest.fixture(params=[None, "v1"])
    def chunks(self, request):
        return list(chat(search=BestOfN(n=1), output_version=request.param).stream(QUESTION))

    def test_facts_are_on_the_last_chunk_only(self, chunks):
        with_facts = [chunk for chunk in chunks if chunk.response_metadata.get("model_name")]
        with_usage = [chunk for chunk in chunks if chunk.usage_metadata]
        assert with_facts == with_usage == [chunk for chunk in chunks if chunk.chunk_position == "last"]
        assert joined(chunks).response_metadata["darwin"] == with_facts[0].response_metadata["darwin"]

    def test_the_last_chunk_says_so(self, chunks):
        assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"]
        assert chunks[-1].chunk_position == "last"
        assert {type(chunk) for chunk in chunks} == {AIMessageChunk}

    def test_all_chunks_have_the_runs_id(self, chunks):
        (ident,) = {chunk.id for chunk in chunks}
        assert ident.startswith("lc_run--")

    def test_text_in_version_1(self):
        answer = chat(output_version="v1").invoke(QUESTION)
        assert answer.content == [{"type": "text", "text": chat().invoke(QUESTION).text}]
        assert answer.response_metadata["output_version"] == "v1"


class TestReasoning:
    @pytest.mark.parametrize("version", [None, "v1"])
    @pytest.mark.parametrize("search", [BestOfN(n=1), BestOfN(n=2), Darwin(period=2)])
    def test_it_is_beside_the_text(self, version, search):
        model = thinking(output_version=version, search=search)
        for answer in (model.invoke(QUESTION), joined(model.stream(QUESTION))):
            assert answer.text == "The old sea."
            blocks = [(block["type"], block.get("reasoning") or block.get("text")) for block in answer.content_blocks]
            assert blocks == [("reasoning", "Let me see."), ("text", "The old sea.")]

    def test_plain_text_stays_a_string(self):
        assert thinking().invoke(QUESTION).content == "The old sea."

    def test_its_tokens_are_counted(self):
        usage = thinking(search=BestOfN(n=2)).invoke(QUESTION).usage_metadata
        assert usage["output_token_details"] == {"search": usage["output_tokens"] // 2, "reasoning": 3}
        assert sum(usage["output_token_details"].values()) <= usage["output_tokens"]

    def test_it_goes_back_into_the_next_prompt_apart_from_the_text(self):
        answer = thinking(output_version="v1").invoke(QUESTION)
        seen = []

        def respond(conversation, tools):
            seen.append(conversation)
            return "Yes."

        chat(model=ScriptedPolicy(respond)).invoke([HumanMessage(QUESTION), answer, HumanMessage("Really?")])
        assert "assistant: The old sea.\n" in seen[0]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
class TestEvents:
    @pytest.fixture(params=["text", "reasoning"])
    def model(self, request):
        return chat(search=BestOfN(n=1)) if request.param == "text" else thinking(search=BestOfN(n=1))

    async def test_they_are_valid_and_end_in_the_answer(self, model):
        answer = model.invoke(QUESTION)
        stream = model.stream_events(QUESTION, version="v3")
        events = list(stream)
        assert_valid_event_stream(events)
        awaited = await model.astream_events(QUESTION, version="v3")
        assert_valid_event_stream([event async for event in awaited])
        for output in (stream.output, await awaited.output):
            assert output.text == answer.text
            assert output.response_metadata["darwin"]["reward"] == answer.response_metadata["darwin"]["reward"]
            assert output.usage_metadata["total_tokens"] == answer.usage_metadata["total_tokens"]

    async def test_projections(self):
        stream = thinking(search=BestOfN(n=1)).stream_events(QUESTION, version="v3")
        assert next(iter(stream.text)) == "The"
        assert stream.text.get() == "The old sea."
        assert stream.reasoning.get() == "Let me see."
        awaited = await thinking().astream_events(QUESTION, version="v3")
        assert await awaited.text == "The old sea."

    async def test_events_of_the_search_come_with_v3(self):
        heard = []

        class Search(BaseCallbackHandler):
            def on_custom_event(self, name, data, **kwargs):
                heard.append(data["event"])

        stream = await chat().astream_events(QUESTION, version="v3", config={"callbacks": [Search()]})
        await stream.output
        assert (heard[0], heard[-1]) == ("started", "finished")


class TestCopies:
    @pytest.fixture
    def models(self):
        plain = chat(reward="self", search=BestOfN(n=1))
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
        return [
            plain,
            plain.bind(temperature=0.1),
            plain.bind_tools([TOOL]),
            plain.bind(response_format=form),
            plain.with_config(tags=["a"]),
            plain.with_retry(),
            plain.with_fallbacks([plain]),
            RunnableLambda(str.lower) | plain,
        ]

    def test_copies_and_pickles_answer_alike(self, models):
        for model in models[:-1]:
            text = model.invoke(QUESTION).text
            assert copy.deepcopy(model).invoke(QUESTION).text == text
            assert pickle.loads(pickle.dumps(model)).invoke(QUESTION).text == text
        assert copy.deepcopy(models[-1]).invoke(QUESTION).text == models[-1].invoke(QUESTION).text

    def test_a_pickled_local_model_brings_no_weights(self):
        model = chat(model=str(cached_tiny_model("llama")), max_tokens=4)
        text = model.invoke("hi").text
        packed = pickle.dumps(model)
        assert len(packed) < 10_000
        assert pickle.loads(packed).invoke("hi").text == copy.deepcopy(model).invoke("hi").text == text

    def test_it_is_not_serialised(self):
        assert not ChatDarwin.is_lc_serializable()
        assert dumpd(chat())["type"] == "not_implemented"

    def test_configured_calls_share_the_loaded_model(self, monkeypatch):
        from langchain_darwin.inference import loading

        loads = []
        load = loading._load
        monkeypatch.setattr(loading, "_load", lambda *args: loads.append(args) or load(*args))
        fields = {"temperature": ConfigurableField(id="heat")}
        model = chat(model=str(cached_tiny_model("mistral")), max_tokens=3).configurable_fields(**fields)
        for heat in (0.1, 0.2, 0.3):
            model.with_config(configurable={"heat": heat}).invoke("hi")
        assert len(loads) == 1


class TestCache:
    def model(self, **fields):
        self.runs = []
        return chat(cache=InMemoryCache(), on_search_event=self.runs.append, **fields)

    async def test_an_answer_is_replayed_with_its_facts(self):
        model = self.model()
        first = model.invoke(QUESTION)
        seen = len(self.runs)
        second = await model.ainvoke(QUESTION)
        assert len(self.runs) == seen
        assert (second.text, second.response_metadata) == (first.text, first.response_metadata)

    def test_tool_calls_survive_it(self):
        call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
        model = self.model(model=ScriptedPolicy(lambda conversation, tools: call)).bind_tools([TOOL])
        assert model.invoke(QUESTION).tool_calls == model.invoke(QUESTION).tool_calls != []

    def test_streams_are_not_cached(self):
        model = self.model()
        list(model.stream(QUESTION))
        assert model.cache._cache == {}

    def test_no_stop_strings_differ_from_the_models_own(self):
        model = self.model(model=ScriptedPolicy(lambda conversation, tools: "one two three"), stop=["two"])
        assert model.invoke(QUESTION).text == "one "
        assert model.invoke(QUESTION, stop=[]).text == "one two three"

    def test_the_address_of_an_object_is_not_in_the_key(self):
        one, other = ({"reward": keyword_reward("sky"), "search": BestOfN(n=2)} for _ in range(2))
        assert chat()._get_llm_string(**one) == chat()._get_llm_string(**other) != chat()._get_llm_string()

    def test_settings_of_a_call_are_in_the_key(self):
        model = self.model()
        texts = {model.invoke(QUESTION, seed=seed).text for seed in range(4)}
        assert len(texts) > 1


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "family", "retried"),
        [
            (errors.InvalidRequestError, lc.ModelInvalidRequestError, False),
            (errors.ContextOverflowError, lc.ContextOverflowError, False),
            (errors.ModelNotFound, lc.ModelNotFoundError, False),
            (errors.PolicyError, lc.ModelAPIError, True),
            (errors.SearchTimeoutError, lc.ModelTimeoutError, True),
        ],
    )
    def test_they_are_of_langchains_families(self, error, family, retried):
        raised = error("why")
        assert isinstance(raised, family)
        assert raised.is_retryable == retried

    @pytest.mark.parametrize(
        ("error", "calls"),
        [
            (errors.PolicyError, 3),
            (errors.RewardError, 3),
            (errors.RewardTimeoutError, 3),
            (errors.SearchTimeoutError, 3),
            (errors.InvalidRequestError, 1),
            (errors.ConfigurationError, 1),
            (errors.ContextOverflowError, 1),
            (errors.SearchCancelledError, 1),
        ],
    )
    async def test_langgraph_retries_what_may_pass(self, error, calls):
        from langgraph.graph import END, START, MessagesState, StateGraph
        from langgraph.types import RetryPolicy

        def build(seen):
            def reward(messages, responses):
                seen.append(1)
                raise error("why")

            model = chat(reward=reward)
            limits = {"initial_interval": 0.001, "max_interval": 0.001, "max_attempts": 3, "jitter": False}
            policy = RetryPolicy(retry_on=lambda raised: getattr(raised, "is_retryable", False), **limits)
            graph = StateGraph(MessagesState)
            graph.add_node("model", lambda s: {"messages": [model.invoke(s["messages"])]}, retry_policy=policy)
            graph.add_edge(START, "model")
            graph.add_edge("model", END)
            return graph.compile()

        seen = []
        with pytest.raises(error):
            build(seen).invoke({"messages": [("user", QUESTION)]})
        assert len(seen) == calls

    def test_every_error_says_whether_it_may_pass(self):
        kinds = [
            kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DarwinError)
        ]
        passing = {kind.__name__ for kind in kinds if kind.is_retryable}
        assert passing == {"PolicyError", "RewardError", "RewardTimeoutError", "SearchTimeoutError"}

    def test_agents_retry_what_may_pass(self):
        from langchain.agents.middleware._retry import default_retry_on

        assert default_retry_on(errors.RewardError("a judge may be down"))
        assert not default_retry_on(errors.InvalidRequestError("why"))

    async def test_with_retry(self):
        calls = []

        def flaky(messages, responses):
            calls.append(1)
            if len(calls) < 3:
                raise ConnectionError
            return [0.0] * len(responses)

        model = chat(reward=flaky).with_retry(
            retry_if_exception_type=(errors.RewardError,), wait_exponential_jitter=False
        )
        assert model.invoke(QUESTION).text
        calls.clear()
        assert (await model.ainvoke(QUESTION)).text

    async def test_with_fallbacks(self):
        small = chat(model=ScriptedPolicy(context_length=20))
        model = small.with_fallbacks([chat()], exceptions_to_handle=(lc.ContextOverflowError,))
        long = "word " * 50
        assert model.invoke(long).text == (await model.ainvoke(long)).text == chat().invoke(long).text
        with pytest.raises(errors.InvalidRequestError):
            model.invoke([])

    def test_callbacks_hear_of_them(self):
        listener = Listener()
        with pytest.raises(errors.ContextOverflowError):
            chat(model=ScriptedPolicy(context_length=5)).invoke("word " * 9, config={"callbacks": [listener]})
        assert [type(error) for error in listener.errors] == [errors.ContextOverflowError]
