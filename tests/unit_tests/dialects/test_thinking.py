"""Models that think first: the thinking has its place before calls and JSON that a grammar enforces."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import Future

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from pydantic import BaseModel

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.dialect import dialect_of
from langchain_darwin.dialects.formats import HERMES, LLAMA_JSON, MISTRAL_ARGS
from langchain_darwin.dialects.thinking import Thought, thought_of
from langchain_darwin.dialects.tool_use import tool_use
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.inference.chat_codec import ChatCodec
from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.sequences import Submission, open_sequence
from langchain_darwin.search.base import Task
from langchain_darwin.testing import ScriptedPolicy
from langchain_darwin.testing.word_codec import WordCodec
from tests.tiny_models import cached_tiny_model, tiny_tokenizer

xgrammar = pytest.importorskip("xgrammar")

THINKS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As Qwen 3's: the model begins its thinking itself."""
OPENS = THINKS.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
"""As DeepSeek R1's and QwQ's: the prompt begins it."""
SWITCHED_OFF = THINKS.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}")
SILENT = THINKS.replace("<think>\n", "").replace("\n</think>\n\n", "")

CALL = '<tool_call>\n{"name": "place", "arguments": {"city": "Oslo"}}\n</tool_call>'
FORM = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def place(city: str) -> str:
    """Where a city is."""
    return city


class City(BaseModel):
    """A city."""

    city: str


@pytest.mark.parametrize(
    ("template", "thought"),
    [
        (THINKS, Thought("<think>", "</think>")),
        (OPENS, Thought("", "</think>")),
        (SWITCHED_OFF, None),
        (SILENT, None),
    ],
    ids=["model begins", "prompt begins", "switched off", "does not think"],
)
def test_the_chat_template_tells_how_a_model_thinks(template, thought):
    codec = ChatCodec(tiny_tokenizer(template), frozenset({2}))
    assert dialect_of(codec).thought == thought
    assert dialect_of(codec, "hermes").thought == thought  # of another reader's ways, the template knows nothing


def test_mistrals_thinking_is_told_by_the_template():
    calls = "[TOOL_CALLS]{{ call.function.name }}[ARGS]{{ call.function.arguments | tojson }}{% endfor %}"
    template = re.sub(r"<tool_call>.*?{% endfor %}", lambda _: calls, THINKS, flags=re.DOTALL)
    template = template.replace("<think>\n", "[THINK]").replace("\n</think>\n\n", "[/THINK]")
    found = dialect_of(ChatCodec(tiny_tokenizer(template), frozenset({2})))
    assert (found.format, found.thought, found.reasons) == (MISTRAL_ARGS, Thought("[THINK]", "[/THINK]"), True)


def test_a_format_that_says_nothing_of_thinking():
    assert thought_of(LLAMA_JSON.template, THINKS, "") is None


def accepts(settings, thought, text):
    """Whether a whole text follows the grammar."""
    constraint = tool_use(settings).constraint(HERMES, thought, max_tokens=100)
    info = xgrammar.TokenizerInfo([chr(code) for code in range(128)] + ["</s>"], stop_token_ids=[128])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_structural_tag(constraint.grammar))
    return matcher.accept_string(text) and matcher.is_completed()


FORCED = {"tools": [place], "tool_choice": "any"}
JSON = {"response_format": FORM}
BOTH = {"tools": [place], "response_format": FORM}


@pytest.mark.parametrize(
    ("settings", "answer"), [(FORCED, CALL), (JSON, '{"city": "Oslo"}'), (BOTH, CALL), (BOTH, '{"city": "Oslo"}')]
)
class TestGrammar:
    def test_a_model_that_begins_by_itself_may_think(self, settings, answer):
        thought = Thought("<think>", "</think>")
        assert accepts(settings, thought, answer)
        assert accepts(settings, thought, f"<think>\nFar <b> \n{{}}.\n</think>\n\n{answer}")
        assert accepts(settings, thought, f"<think>Far.</think>{answer}")
        assert not accepts(settings, thought, f"<think>\nFar.\n{answer}")
        assert not accepts(settings, thought, f"Far.\n</think>\n\n{answer}")
        assert not accepts(settings, thought, f"<think>\n</think>\n\nSo: {answer}")

    def test_a_thought_that_the_prompt_began_must_be_ended(self, settings, answer):
        thought = Thought("", "</think>")
        assert accepts(settings, thought, f"Far.\n</think>\n\n{answer}")
        assert not accepts(settings, thought, answer)

    def test_it_leaves_room_for_the_answer(self, settings, answer):
        thought = Thought("<think>", "</think>")
        assert accepts(settings, thought, f"<think>{'x' * 150}</think>\n\n{answer}")
        assert not accepts(settings, thought, f"<think>{'x' * 151}</think>\n\n{answer}")


def test_without_thinking_json_is_constrained_as_ever():
    assert tool_use(JSON).constraint(HERMES).kind == "json_schema"


def test_a_call_that_is_free_needs_no_place_for_it():
    use = tool_use({"tools": [place], "strict": True})
    assert use.constraint(HERMES, Thought("<think>", "</think>")) == use.constraint(HERMES)


@pytest.fixture(scope="module", params=[THINKS, OPENS], ids=["model begins", "prompt begins"])
def model(request, tmp_path_factory):
    """Random weights, and a chat template that thinks."""
    folder = tmp_path_factory.mktemp("thinks")
    shutil.copytree(cached_tiny_model("qwen3"), folder, dirs_exist_ok=True)
    tokenizer = tiny_tokenizer(request.param)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = 1024  # room for the prompt and for the longest of the answers
    (folder / "config.json").write_text(json.dumps(config))
    settings = {"search": BestOfN(n=3), "reward": lambda messages, responses: [0.0] * len(responses), "n": 3}
    return ChatDarwin(model=str(folder), seed=1, temperature=2.0, top_k=0, max_tokens=90, **settings)


class TestCalls:
    def test_forced_calls_come_after_the_thought(self, model):
        [generations] = model.generate([[HumanMessage("hi")]], tools=[place], tool_choice="any").generations
        messages = [generation.message for generation in generations]
        assert [(len(m.tool_calls), m.invalid_tool_calls, m.text) for m in messages] == [(1, [], "")] * 3
        assert all(isinstance(m.tool_calls[0]["args"]["city"], str) for m in messages)

    def test_json_is_all_of_the_text(self, model):
        result = model.with_structured_output(City, include_raw=True).invoke("hi")
        assert isinstance(result["parsed"], City)
        assert json.loads(result["raw"].text) == result["parsed"].model_dump()

    def test_the_thought_is_reasoning(self, model):
        opened = dialect_of(model.policy_of(model.model)[0].codec).thought.begin == ""
        answer = model.bind(response_format=FORM).invoke("hi")
        assert bool(answer.additional_kwargs.get("reasoning_content")) or not opened
        assert "</think>" not in answer.text

    def test_streams_equal_it(self, model):
        bound = model.bind(response_format=FORM)
        joined = sum(bound.stream("hi", search=BestOfN(n=1)), AIMessageChunk(content=""))
        whole = bound.invoke("hi", search=BestOfN(n=1))
        assert (joined.text, joined.additional_kwargs) == (whole.text, whole.additional_kwargs)


def scripted(answer, **settings):
    def respond(conversation, tools):
        return answer

    return ChatDarwin(
        model=ScriptedPolicy(respond), search=BestOfN(n=1), seed=1, response_template="hermes", **settings
    )


class TestStopStrings:
    @pytest.mark.parametrize("stop", ["\n\n", "\n", "step"])
    def test_they_count_after_the_thinking(self, stop):
        model = scripted(f"<think>\nOne step.{stop}Two.\n</think>\n\nOslo.{stop}Bergen.")
        answer = model.invoke("hi", stop=[stop])
        assert (answer.text, answer.additional_kwargs["reasoning_content"]) == ("Oslo.", f"One step.{stop}Two.")
        assert answer.response_metadata["finish_reason"] == "stop"

    def test_they_end_an_answer_without_thinking(self):
        assert scripted("Oslo.\n\nBergen.").invoke("hi", stop=["\n\n"]).text == "Oslo."

    def test_streams_equal_it(self):
        model = scripted("<think>\na\n\nb\n</think>\n\nOslo, Norway.\n\nBergen.").bind(stop=["\n\n"])
        joined = sum(model.stream("hi"), AIMessageChunk(content=""))
        whole = model.invoke("hi")
        assert (joined.text, joined.additional_kwargs) == (whole.text, whole.additional_kwargs)
        assert whole.text == "Oslo, Norway."

    def test_they_count_after_special_tokens_that_set_off_thinking(self, tmp_path):
        tokenizer = tiny_tokenizer(OPENS)
        tokenizer.add_special_tokens({"additional_special_tokens": ["</think>"]})
        codec = ChatCodec(tokenizer, frozenset({2}))
        sampling = Sampling(stop=("b",), max_tokens=50, thought=Thought("", "</think>"))
        end = tokenizer.convert_tokens_to_ids("</think>")
        response = (*codec.encode_text("abc"), end, *codec.encode_text("ab"))
        ends = []
        for count in range(1, len(response) + 1):
            job = Job((5, *response[: count - 1]), 1, sampling, 0)
            text = open_sequence(job, 0, Submission(Future(), None), 100, codec, None)
            ends.append(not text.done and text.take(response[count - 1], 0.0, codec))
        assert ends == [False] * (len(response) - 1) + [True]


@pytest.mark.parametrize(
    "answer", ["Write <think> and then </think>.", "The <think> tag opens.", "Oslo. <think>\nHm.\n</think>\nBergen."]
)
def test_a_mark_in_the_middle_of_an_answer_swallows_nothing(answer):
    message = scripted(answer).invoke("hi")
    assert (message.text, message.additional_kwargs) == (answer, {})


def test_a_call_after_a_mark_in_the_middle_is_read():
    answer = f"I <think> so. {CALL}"
    message = scripted(answer).bind_tools([place]).invoke("hi")
    assert (message.text, message.tool_calls[0]["args"]) == ("I <think> so.", {"city": "Oslo"})


OFF = "{% if enable_thinking is false %}\n\n</think>\n\n{% endif %}"
SWITCH = OPENS.replace("<think>\n{% endif %}", "<think>\n" + OFF + "{% endif %}")
"""As Qwen 3's: a variable of the template switches the thinking off."""


class TestTemplateKwargs:
    def test_they_reach_the_template(self):
        found = ChatCodec(tiny_tokenizer(SWITCH), frozenset({2}))
        turns = [{"role": "user", "content": "hi"}]
        shown = found.tokenizer.decode(found.encode_chat(turns, (), {"enable_thinking": False}))
        assert shown == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        assert found.tokenizer.decode(found.encode_chat(turns)).endswith("assistant\n<think>\n")

    def test_the_dialect_follows_them_in_every_prompt(self):
        found = ChatCodec(tiny_tokenizer(SWITCH), frozenset({2}))
        on, off = dialect_of(found), dialect_of(found, None, {"enable_thinking": False})
        assert [(each.opening, each.thought) for each in (on, off)] == [
            ("<think>\n", Thought("", "</think>")),
            ("", None),
        ]
        turns = [{"role": "user", "content": "hi"}]
        task = Task(turns, off.codec(found, marked=off.reasons), Sampling())
        for prompt in (task.prompt, task.root("ho").prompt, task.aside("Who?").prompt):
            assert found.tokenizer.decode(prompt).endswith("<think>\n\n</think>\n\n")
        assert off.reader((), b"")("Oslo.", True).text == "Oslo."

    @pytest.mark.parametrize("name", ["tokenize", "tools", "messages", "add_generation_prompt", "not a name"])
    def test_names_that_are_not_the_templates_are_refused(self, name):
        found = ChatCodec(tiny_tokenizer(SWITCH), frozenset({2}))
        with pytest.raises(InvalidRequestError, match=f"{name!r} is no variable of a chat template"):
            found.encode_chat([{"role": "user", "content": "hi"}], (), {name: False})

    def test_names_that_the_template_does_not_use_are_warned_about(self):
        found = ChatCodec(tiny_tokenizer(THINKS), frozenset({2}))
        with pytest.warns(UserWarning, match="does not use 'enable_thinking'"):
            dialect_of(found, None, {"enable_thinking": False})
        with pytest.warns(UserWarning, match="the model has no chat template"):
            dialect_of(WordCodec(), None, {"enable_thinking": False})
