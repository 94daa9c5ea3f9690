"""Histories in the dialect of each model: calls, results, and what could not be read, are in the prompt."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.dialects.dialect import dialect_of
from langchain_darwin.dialects.thinking import Thought
from langchain_darwin.inference.chat_codec import ChatCodec
from langchain_darwin.testing import ScriptedPolicy
from tests.chat_templates import BRANCHES, FIRST_PART, LLAMA3, MISTRAL_TOOLS, PARTS, PHI, QWEN3, TEMPLATES
from tests.tiny_models import CHATML, GEMMA, MISTRAL, tiny_tokenizer

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look around in a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Where."}}},
    },
}


def prompt_of(template, messages, tools=(), **settings):
    codec = ChatCodec(tiny_tokenizer(template, bos_token="<bos>"), frozenset({2}))
    speaking = dialect_of(codec, **settings).codec(codec, marked=True)
    return codec.tokenizer.decode(speaking.encode_chat(to_conversation(messages), tools))


def calling(text, *calls):
    made = [{"name": "look", "args": {"city": city}, "id": ident} for ident, city in calls]
    return AIMessage(text, tool_calls=made)


TWO_CALLS = [
    SystemMessage("Be brief."),
    HumanMessage("Where is it warmer?"),
    calling("Both at once.", ("call_1", "Oslo"), ("call_2", "Rome")),
    ToolMessage("3 degrees", tool_call_id="call_1"),
    ToolMessage("13 degrees", tool_call_id="call_2"),
    AIMessage("In Rome."),
    HumanMessage("Thanks, and now?"),
]


@pytest.mark.parametrize("template", sorted({*TEMPLATES} - {"one_exchange"}))
def test_parallel_calls_their_results_and_tools_are_in_every_prompt(template):
    prompt = prompt_of(TEMPLATES[template], TWO_CALLS, [TOOL])
    said = ["Be brief.", "Look around", "Where is it", "Both at once.", "Oslo", "Rome", "3 degrees", "13 degrees"]
    assert [text for text in (*said, "In Rome.", "and now?") if text not in prompt] == []


@pytest.mark.parametrize(
    ("template", "native"),
    [
        (QWEN3, True),
        (LLAMA3, True),
        (MISTRAL_TOOLS, True),
        (QWEN3.replace("{{ t | tojson }}", "{{ t.function.name }}"), False),
        (PHI, False),
        (BRANCHES, False),
        (PARTS, False),
        (FIRST_PART, False),
        (CHATML, False),
        (GEMMA, False),
        (MISTRAL, False),
    ],
)
def test_tools_are_left_to_a_template_that_writes_all_of_them(template, native):
    assert dialect_of(ChatCodec(tiny_tokenizer(template, bos_token="<bos>"), frozenset({2}))).native is native


class TestWhatCouldNotBeRead:
    """A call that could not be read stands in the history as it was written."""

    BAD = ToolMessage("Error: no JSON", tool_call_id="call_1", status="error")

    def messages(self, name, args):
        bad = {"name": name, "args": args, "id": "call_1", "error": "no JSON", "type": "invalid_tool_call"}
        return [HumanMessage("Oslo?"), AIMessage("Looking.", invalid_tool_calls=[bad]), self.BAD]

    @pytest.mark.parametrize("template", ["qwen3", "llama3", "mistral_tools", "chatml", "gemma", "branches", "parts"])
    @pytest.mark.parametrize(
        ("name", "args"), [("look", '{"city": "Os'), (None, '{"name": "look", "arguments": {"city": "Os'), ("look", "")]
    )
    def test_in_every_prompt(self, template, name, args):
        prompt = prompt_of(TEMPLATES[template], self.messages(name, args), [TOOL])
        assert [text for text in ("Looking.", args, name or "", "Error: no JSON") if text not in prompt] == []

    def test_in_the_models_own_words(self):
        prompt = prompt_of(QWEN3, self.messages("look", '{"city": "Os'))
        assert '<tool_call>\n{"name": "look", "arguments": {"city": "Os}\n</tool_call>' in prompt
        prompt = prompt_of(LLAMA3, self.messages("look", "{'city': 'Oslo'}"))
        assert """{"name": "look", "parameters": {'city': 'Oslo'}}""" in prompt

    def test_what_the_reader_kept_is_written_as_it_was(self):
        answers = iter(['<tool_call>\n{"name": "look", "arguments": [1]}\n</tool_call>', "It is cold."])
        seen = []

        def respond(conversation, tools):
            seen.append(conversation)
            return next(answers)

        model = ChatDarwin(model=ScriptedPolicy(respond), search=BestOfN(n=1), seed=1, reward=lambda m, r: [0.0])
        first = model.bind(tools=[TOOL]).invoke("Oslo?")
        [bad] = first.invalid_tool_calls
        history = [HumanMessage("Oslo?"), first, ToolMessage("no object", tool_call_id=bad["id"])]
        assert model.bind(tools=[TOOL]).invoke(history).text == "It is cold."
        assert '<tool_call>\n{"name": "look", "arguments": [1]}' in seen[1]
        assert "tool: no object" in seen[1]


class TestRefusedCalls:
    """Calls in an order that a template refuses are written as text."""

    def test_a_result_without_its_call(self):
        strict = QWEN3.replace(
            "{% for m in messages %}",
            "{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - 1].tool_calls %}"
            "{{ raise_exception('no call') }}{% endif %}",
            1,
        )
        orphan = [HumanMessage("q"), ToolMessage("3 degrees", tool_call_id="gone"), HumanMessage("r")]
        assert "<tool_response>\n3 degrees\n</tool_response>" in prompt_of(strict, orphan, [TOOL])

    def test_a_call_that_is_answered_by_a_user(self):
        history = [HumanMessage("q"), calling("Looking.", ("call_1", "Oslo")), HumanMessage("Never mind.")]
        for template in (LLAMA3, MISTRAL_TOOLS, QWEN3):
            prompt = prompt_of(template, history, [TOOL])
            assert [text for text in ("Looking.", "Oslo", "Never mind.") if text not in prompt] == []


class TestContinuing:
    def test_an_answer_that_goes_on_thinks_no_more(self):
        opens = QWEN3.replace(
            "{{ '<|im_start|>assistant\n' }}{% if enable", "{{ '<|im_start|>assistant\n<think>\n' }}{% if enable"
        )
        found = dialect_of(ChatCodec(tiny_tokenizer(opens), frozenset({2})))
        assert (found.opening, found.thought) == ("<think>\n", Thought("", "</think>"))
        for messages, thinks in [
            ([HumanMessage("q")], True),
            ([HumanMessage("q"), AIMessage("The answer is")], False),
            ([HumanMessage("q"), AIMessage("")], True),
            ([HumanMessage("q"), calling("Looking.", ("call_1", "Oslo"))], True),
        ]:
            own = found.answering(to_conversation(messages))
            assert (bool(own.opening), own.thought is not None) == (thinks, thinks)
