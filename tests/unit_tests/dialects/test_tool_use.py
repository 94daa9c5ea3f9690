"""Tools: choices, definitions, grammars, reading, streaming, histories, rewards."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableBinding

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.dialects.dialect import dialect_of, named_format
from langchain_darwin.dialects.formats import FORMATS, HERMES, LLAMA_JSON, MISTRAL, MISTRAL_ARGS, QWEN_XML
from langchain_darwin.dialects.plain_text import as_text
from langchain_darwin.dialects.response_reader import Reading, ResponseReader
from langchain_darwin.dialects.tool_use import definitions, forced_names, tool_use
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.inference.chat_codec import ChatCodec
from langchain_darwin.testing import ScriptedPolicy
from tests.tiny_models import CHATML, GEMMA, tiny_tokenizer


def weather(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"{city}: {days}"


def place(city: str) -> str:
    """Where a city is."""
    return city


def clock() -> str:
    """The time."""
    return "noon"


WEATHER = definitions([weather])
OSLO = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
BERGEN = OSLO.replace("Oslo", "Bergen")

QWEN = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = QWEN.replace("<tool_call>\n{", "{").replace('arguments":', 'parameters":').replace("\n</tool_call>", "")
NINE = "{% if m.tool_calls and m.tool_calls[0].id | length != 9 %}{{ raise_exception('ids have nine') }}{% endif %}"
ARGS = LLAMA.replace(
    '{"name": "{{ call.function.name }}", "parameters": {{ call.function.arguments | tojson }}}',
    "[TOOL_CALLS]{{ call.function.name }}[ARGS]{{ call.function.arguments | tojson }}",
)
XML = QWEN.replace(
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}',
    "<function={{ call.function.name }}>\n{% for k, v in call.function.arguments.items() %}"
    "<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}</function>",
)

LINES = '{"city": "New\nYork,\t\\"NY\\""}'  # as small models write it; JSON wants \\n and \\t


def codec(template):
    return ChatCodec(tiny_tokenizer(template), frozenset({2}))


def chat(*answers, **settings):
    def respond(conversation, tools):
        return list(answers)

    return ChatDarwin(**{"model": ScriptedPolicy(respond), "search": BestOfN(n=len(answers)), "seed": 1, **settings})


def reader(form=HERMES, tools=WEATHER, **options):
    return ResponseReader(form.template, tools, **options)


def calls(reading):
    return [(call["name"], call["args"]) for call in reading.tool_calls]


class TestToolChoice:
    @pytest.mark.parametrize("choice", [None, False, "auto", "none", {"type": "auto"}, {"type": "none"}])
    def test_free(self, choice):
        assert forced_names(choice, ["a", "b"]) == ()

    @pytest.mark.parametrize("choice", ["any", "required", True, {"type": "any"}])
    def test_any(self, choice):
        assert forced_names(choice, ["a", "b"]) == ("a", "b")

    @pytest.mark.parametrize(
        "choice", ["b", {"type": "function", "function": {"name": "b"}}, {"type": "tool", "name": "b"}]
    )
    def test_named(self, choice):
        assert forced_names(choice, ["a", "b"]) == ("b",)

    @pytest.mark.parametrize("choice", ["c", {"type": "function", "function": {"name": "c"}}, 3, {"type": "what"}, []])
    def test_wrong(self, choice):
        with pytest.raises(InvalidRequestError, match=r"'auto', 'none', 'any'.* a tool: a, b"):
            forced_names(choice, ["a", "b"])

    def test_a_call_without_tools_cannot_be_forced(self):
        with pytest.raises(InvalidRequestError, match="no tools"):
            ChatDarwin().bind_tools([], tool_choice="any")

    def test_none_hides_the_tools(self):
        assert tool_use({"tools": [weather], "tool_choice": "none"}).tools == ()


class TestBinding:
    def test_a_binding_holds_plain_definitions(self):
        bound = ChatDarwin().bind_tools([weather], tool_choice="weather", strict=None, parallel_tool_calls=False)
        assert isinstance(bound, RunnableBinding)
        assert bound.kwargs == {"tools": WEATHER, "tool_choice": "weather", "parallel_tool_calls": False}

    def test_agents_bind_a_format_and_no_tools(self):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        assert ChatDarwin().bind_tools([], response_format=wanted).kwargs == {"tools": [], "response_format": wanted}

    def test_a_wrong_name_is_refused_when_binding(self):
        with pytest.raises(InvalidRequestError, match="a tool: weather"):
            ChatDarwin().bind_tools([weather], tool_choice="wether")

    @pytest.mark.parametrize("tool", [3, {"type": "web_search"}])
    def test_what_is_no_tool_is_refused(self, tool):
        with pytest.raises(InvalidRequestError, match="tools holds"):
            ChatDarwin().bind_tools([tool])

    def test_tools_are_part_of_the_cache_key(self):
        model = chat("x")
        one, other = (model._get_llm_string(tools=definitions([tool])) for tool in (weather, clock))
        assert one != other

    def test_an_unknown_response_template_is_refused(self):
        with pytest.raises(ValueError, match="hermes, qwen_xml, llama_json, mistral"):
            ChatDarwin(response_template="herms")


class TestConstraint:
    def form(self, written=HERMES, **settings):
        constraint = tool_use({"tools": [weather, clock], **settings}).constraint(written)
        return constraint and (constraint.kind, json.loads(constraint.grammar).get("format"))

    def test_free_calls_have_none(self):
        assert self.form() is None

    def test_a_named_call_is_one_tag(self):
        kind, form = self.form(tool_choice="weather")
        [tag] = form["elements"]
        assert (kind, tag["begin"], tag["end"]) == (
            "structural_tag",
            '<tool_call>\n{"name": "weather", "arguments": ',
            "}\n</tool_call>",
        )
        assert tag["content"]["json_schema"] == WEATHER[0]["function"]["parameters"]

    def test_several_calls_only_if_asked_for(self):
        assert self.form(tool_choice="any")[1]["type"] == "or"
        assert self.form(tool_choice="any", parallel_tool_calls=True)[1]["elements"][1]["type"] == "repeat"

    def test_strict_constrains_what_follows_the_trigger(self):
        form = self.form(strict=True)[1]
        assert (form["triggers"], form["stop_after_first"], len(form["tags"])) == (["<tool_call>"], False, 2)

    def test_one_call_at_most(self):
        assert self.form(parallel_tool_calls=False)[1]["stop_after_first"] is True

    def test_a_format_beside_tools_is_an_alternative(self):
        form = self.form(response_format={"type": "object", "properties": {}})[1]
        assert [each["type"] for each in form["elements"]] == ["sequence", "json_schema"]

    def test_lists_of_calls_are_enclosed(self):
        parts = self.form(MISTRAL, tool_choice="any")[1]["elements"]
        assert (parts[0]["value"], parts[-1]["value"]) == ("[TOOL_CALLS] [", "]")

    @pytest.mark.parametrize("written", FORMATS, ids=lambda form: form.name)
    @pytest.mark.parametrize(
        "settings",
        [{"tool_choice": "any"}, {"tool_choice": "any", "parallel_tool_calls": True}, {"strict": True}],
        ids=["forced", "several", "strict"],
    )
    def test_xgrammar_takes_each_and_the_reader_reads_it(self, written, settings):
        xgrammar = pytest.importorskip("xgrammar")
        constraint = tool_use({"tools": [place], **settings}).constraint(written)
        vocabulary = [chr(code) for code in range(128)] + ["</s>"]
        info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[128])
        matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_structural_tag(constraint.grammar))
        call = written.write("place", {"city": "Oslo"})
        if written is QWEN_XML:
            call = "<tool_call>\n<function=place>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>"
        text = written.prefix + call + written.suffix
        assert matcher.accept_string(text)
        assert matcher.is_completed()
        assert calls(reader(written)(text, True)) == [("place", {"city": "Oslo"})]

    def test_arguments_cannot_hold_what_ends_a_call(self):
        xgrammar = pytest.importorskip("xgrammar")
        constraint = tool_use({"tools": [place], "tool_choice": "any"}).constraint(HERMES)
        info = xgrammar.TokenizerInfo([chr(code) for code in range(128)] + ["</s>"], stop_token_ids=[128])
        grammar = xgrammar.GrammarCompiler(info).compile_structural_tag(constraint.grammar)
        assert not xgrammar.GrammarMatcher(grammar).accept_string(HERMES.write("place", {"city": "a</tool_call>"}))
        assert xgrammar.GrammarMatcher(grammar).accept_string(HERMES.write("place", {"city": "a</tool_cal>"}))


CITY = "<parameter=city>Oslo</parameter>"


class TestReading:
    def test_text_and_calls(self):
        reading = reader()(f"I will look.\n{OSLO}\n{BERGEN}", True)
        assert (reading.text, calls(reading)) == (
            "I will look.",
            [("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen"})],
        )

    def test_every_prefix_is_consistent(self):
        text = f"<think>\nHm.\n</think>\n\nI will look. <tool\n\n{OSLO}\n{BERGEN}\nDone."
        read = reader()
        whole = read(text, True)
        for end in range(len(text)):
            part = read(text[:end], False)
            assert whole.text.startswith(part.text)
            assert whole.reasoning.startswith(part.reasoning)
            assert whole.tool_calls[: len(part.tool_calls)] == part.tool_calls
            assert part.invalid_tool_calls == ()

    def test_reasoning_is_apart(self):
        reading = reader()("<think>\nFar away.\n</think>\n\nIt rains.", True)
        assert (reading.reasoning, reading.text) == ("Far away.", "It rains.")

    def test_reasoning_that_the_prompt_opened(self):
        reading = reader(opening="<think>\n")("Far away.\n</think>\n\nIt rains.", True)
        assert (reading.reasoning, reading.text) == ("Far away.", "It rains.")

    def test_without_tools_a_call_is_text(self):
        assert reader(tools=())(OSLO, True) == Reading(OSLO)

    @pytest.mark.parametrize(
        "body",
        [
            '{"name": "weather", "arguments": {"city": "Os',
            '{"name": "weather", "arguments": [1]}',
            '{"city": 1}',
            "x",
            "7",
            "[1]",
            "",
            pytest.param('{"name": "weather", "arguments": ' + "[" * 100_000, id="nested too deeply"),
        ],
    )
    def test_a_bad_call_is_kept_as_invalid(self, body):
        reading = reader()(f"{OSLO}<tool_call>{body}</tool_call>{BERGEN}", True)
        [bad] = reading.invalid_tool_calls
        assert (len(reading.tool_calls), body in bad["args"], bool(bad["error"]), bad["id"][:5]) == (
            2,
            True,
            True,
            "call_",
        )

    def test_a_cut_call_is_invalid_when_done_and_unknown_before(self):
        cut = OSLO[:40]
        assert reader()(cut, False) == Reading("")
        [bad] = reader()(cut, True).invalid_tool_calls
        assert cut[len("<tool_call>") :] in bad["args"]

    def test_a_cut_xml_call_is_not_taken_for_whole(self):
        text = "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=da"
        reading = reader(QWEN_XML)(text, True)
        assert (reading.tool_calls, reading.invalid_tool_calls[0]["error"]) == ((), "it was cut off")

    def test_a_call_without_its_closing_mark_counts(self):
        assert calls(reader()(OSLO.removesuffix("</tool_call>"), True)) == [("weather", {"city": "Oslo"})]

    def test_an_unknown_tool_is_still_a_call(self):
        assert calls(reader()(OSLO.replace("weather", "wether"), True)) == [("wether", {"city": "Oslo"})]

    def test_arguments_in_a_string(self):
        text = '<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}</tool_call>'
        assert calls(reader()(text, True)) == [("weather", {"city": "Oslo"})]

    @pytest.mark.parametrize("arguments", [LINES, json.dumps(LINES)], ids=["object", "string"])
    def test_line_breaks_and_tabs_in_strings_need_no_escapes(self, arguments):
        text = f'<tool_call>\n{{"name": "weather",\n "arguments": {arguments}}}\n</tool_call>'
        assert calls(reader()(text, True)) == [("weather", {"city": 'New\nYork,\t"NY"'})]

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            (LLAMA_JSON, '{"name": "weather", "parameters": {"city": "Oslo", "days": 2}}'),
            (LLAMA_JSON, '<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo", "days": "2"}}'),
            (MISTRAL, '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}]'),
            (MISTRAL_ARGS, '[TOOL_CALLS]weather[ARGS]{"city": "Oslo", "days": 2}'),
            (QWEN_XML, f"<tool_call><function=weather>{CITY}<parameter=days>2</parameter></function></tool_call>"),
        ],
    )
    def test_families(self, form, text):
        assert calls(reader(form)(text, True)) == [("weather", {"city": "Oslo", "days": 2})]

    @pytest.mark.parametrize("word", ["arguments", "parameters", "args", "params", "input"])
    @pytest.mark.parametrize("name", ["name", "tool_name", "function", "tool"])
    def test_calls_in_another_familys_words(self, word, name):
        call = json.dumps({name: "weather", word: {"city": "Oslo"}})
        assert calls(reader()(f"<tool_call>{call}</tool_call>", True)) == [("weather", {"city": "Oslo"})]
        assert calls(reader(MISTRAL)(f"[TOOL_CALLS] [{call}]", True)) == [("weather", {"city": "Oslo"})]
        if name in ("name", "function"):
            for text in (call, call.replace("{", '{"type": "function", ', 1)):
                assert calls(reader(LLAMA_JSON)(text, True)) == [("weather", {"city": "Oslo"})]

    @pytest.mark.parametrize(
        "body",
        [
            '{"name": "weather"}',
            '{"name": "weather", "city": "Oslo"}',
            '{"name": "weather", "arguments": null}',
            '{"name": "weather", "arguments": ""}',
            '{"name": "weather", "arguments": "Oslo"}',
            '{"name": "weather", "arguments": [["city", "Oslo"]]}',
            '{"name": "wether"}',
            '{"name": null, "arguments": {"city": "Oslo"}}',
            '{"arguments": {"city": "Oslo"}}',
        ],
    )
    def test_a_call_without_readable_arguments_is_invalid(self, body):
        reading = reader()(f"<tool_call>{body}</tool_call>", True)
        assert (reading.tool_calls, len(reading.invalid_tool_calls)) == ((), 1)
        assert body in reading.invalid_tool_calls[0]["args"]

    def test_arguments_without_their_tags_are_not_empty_ones(self):
        for body, count in [('{"city": "Oslo"}', 0), ("city=Oslo", 0), ("\n", 1)]:
            text = f"<tool_call>\n<function=weather>{body}</function>\n</tool_call>"
            reading = reader(QWEN_XML)(text, True)
            assert (len(reading.tool_calls), len(reading.invalid_tool_calls)) == (count, 1 - count)

    @pytest.mark.parametrize("rest", ["", ', "arguments": null', ', "arguments": {}', ', "parameters": ""'])
    def test_a_tool_that_takes_nothing_needs_no_arguments(self, rest):
        text = f'<tool_call>{{"name": "clock"{rest}}}</tool_call>'
        assert calls(reader(tools=definitions([clock]))(text, True)) == [("clock", {})]

    def test_numbers_and_texts_become_what_the_schema_wants(self):
        text = '<tool_call>{"name": "weather", "arguments": {"city": 5, "days": "3"}}</tool_call>'
        assert calls(reader()(text, True)) == [("weather", {"city": "5", "days": 3})]

    def test_ill_formed_unicode_in_arguments_is_mended(self):
        text = r'<tool_call>{"name": "weather", "arguments": {"city": "\ud83d \ud83d\ude00"}}</tool_call>'
        assert calls(reader()(text, True)) == [("weather", {"city": "\ufffd 😀"})]

    def test_a_semicolon_in_a_string_ends_no_llama_call(self):
        one, other = (
            LLAMA_JSON.write("weather", {"city": city}) for city in ("a} ; b", 'c}};  {"name": "x", "parameters": {}}')
        )
        expected = [("weather", {"city": "a} ; b"}), ("weather", {"city": 'c}};  {"name": "x", "parameters": {}}'})]
        for separator in ("; ", ";", " ; "):
            text = one + separator + other
            assert calls(reader(LLAMA_JSON)(text, True)) == expected
            for end in range(len(text)):
                part = reader(LLAMA_JSON)(text[:end], False)
                assert calls(part) == expected[: len(part.tool_calls)]
        assert calls(reader(LLAMA_JSON)(one + ";", True)) == expected[:1]

    def test_several_calls_in_a_list(self):
        text = '[TOOL_CALLS] [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]'
        found = reader(MISTRAL)(text, True).tool_calls
        assert ([call["name"] for call in found], len({call["id"] for call in found})) == (["a", "b"], 2)

    def test_several_calls_of_mistral_as_they_are_written(self):
        text = 'Both.[TOOL_CALLS]a[ARGS]{"x": {"y": "}"}}[TOOL_CALLS]b[ARGS]{}'
        expected = [("a", {"x": {"y": "}"}}), ("b", {})]
        for end in range(len(text)):
            part = reader(MISTRAL_ARGS)(text[:end], False)
            assert (calls(part), part.invalid_tool_calls) == (expected[: len(part.tool_calls)], ())
        assert calls(reader(MISTRAL_ARGS)(text, True)) == expected

    @pytest.mark.parametrize("form", [MISTRAL, MISTRAL_ARGS], ids=lambda form: form.name)
    def test_reasoning_of_mistral(self, form):
        reading = reader(form)(f"[THINK]Far [1] away.[/THINK]It rains.{form.prefix}", True)
        assert (reading.reasoning, reading.text) == ("Far [1] away.", "It rains.")

    def test_ids_follow_from_conversation_and_call(self):
        first = reader(salt=b"1")(f"{OSLO}{OSLO}", True).tool_calls
        again = reader(salt=b"1")(f"{OSLO}{OSLO}", True).tool_calls
        other = reader(salt=b"2")(f"{OSLO}{OSLO}", True).tool_calls
        assert [call["id"] for call in first] == [call["id"] for call in again]
        assert len({call["id"] for call in (*first, *other)}) == 4


class TestDialects:
    def test_a_template_without_tools_is_helped_by_text(self):
        assert not dialect_of(codec(CHATML)).native  # it writes tools, but no calls
        found = codec(GEMMA)
        speaking = dialect_of(found).codec(found, marked=True)
        prompt = found.decode_marked(speaking.encode_chat([{"role": "user", "content": "hi"}], WEATHER))
        assert '<tools>\n{"type": "function", "function": {"name": "weather"' in prompt

    @pytest.mark.parametrize(
        ("template", "form"), [(QWEN, HERMES), (LLAMA, LLAMA_JSON), (ARGS, MISTRAL_ARGS), (XML, QWEN_XML)]
    )
    def test_the_format_is_the_one_that_reads_what_the_template_writes(self, template, form):
        found = dialect_of(codec(template))
        assert (found.native, found.format.name) == (True, form.name)

    def test_a_template_that_wants_short_ids_gets_them(self):
        found = codec(QWEN.replace("{{ m.content }}", "{{ m.content }}" + NINE))
        dialect = dialect_of(found)
        history = to_conversation([HumanMessage("hi"), AIMessage("", tool_calls=[call("weather", "call_123")])])
        assert dialect.short_ids
        assert "weather" in found.decode_marked(dialect.codec(found, marked=True).encode_chat(history, WEATHER))

    def test_a_thought_opened_by_the_template(self):
        found = dialect_of(codec(QWEN.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")))
        assert (found.opening, found.reasons) == ("<think>\n", True)

    def test_what_the_tokenizer_ships_comes_first(self):
        tokenizer = tiny_tokenizer(QWEN)
        tokenizer.response_template = {**HERMES.template, "defaults": {"role": "assistant"}}
        found = dialect_of(ChatCodec(tokenizer, frozenset({2})))
        assert found.format.template == tokenizer.response_template
        assert found.format.begin == HERMES.begin

    def test_an_unknown_format_that_is_shipped_can_be_written(self):
        tokenizer = tiny_tokenizer(QWEN.replace("tool_call>", "invoke>"))
        fields = {**HERMES.template["fields"]}
        fields["tool_calls"] = {**fields["tool_calls"], "open_pattern": r"\s*<invoke>", "close": "</invoke>"}
        tokenizer.response_template = {**HERMES.template, "fields": fields}
        found = dialect_of(ChatCodec(tokenizer, frozenset({2}))).format
        assert (found.begin, found.end) == ('<invoke>\n{"name": "NAME", "arguments": ', "}\n</invoke>")

    def test_a_user_may_choose(self):
        found = codec(CHATML)
        assert dialect_of(found, "mistral").format is named_format("mistral")
        assert dialect_of(found).format is HERMES

    def test_history_as_text(self):
        history = [
            SystemMessage("Be brief."),
            HumanMessage("Weather?"),
            AIMessage("Looking.", tool_calls=[call("weather", "1", city="Oslo")]),
            ToolMessage("rain", tool_call_id="1"),
            ToolMessage("no such city", tool_call_id="2", status="error"),
        ]
        turns = as_text(to_conversation(history))
        assert [(turn["role"], turn["content"]) for turn in turns] == [
            ("system", "Be brief."),
            ("user", "Weather?"),
            ("assistant", f"Looking.\n{OSLO}"),
            (
                "user",
                "<tool_response>\nrain\n</tool_response>\n<tool_response>\nError: no such city\n</tool_response>",
            ),
        ]


def call(name, ident, **args):
    return {"name": name, "args": args, "id": ident, "type": "tool_call"}


class TestCalling:
    def test_a_message_with_calls(self):
        message = chat(f"Looking.\n{OSLO}").bind_tools([weather]).invoke("Weather?")
        assert (message.text, calls(message), message.response_metadata["finish_reason"]) == (
            "Looking.",
            [("weather", {"city": "Oslo"})],
            "tool_calls",
        )

    def test_a_cut_call_is_said_to_be_cut(self):
        message = chat(OSLO, max_tokens=4).bind_tools([weather]).invoke("Weather?")
        assert message.response_metadata["finish_reason"] == "length"
        assert [len(message.tool_calls), len(message.invalid_tool_calls)] == [0, 1]

    def test_a_good_call_before_a_cut_one_does_not_hide_it(self):
        message = chat(OSLO + BERGEN, max_tokens=9).bind_tools([weather]).invoke("Weather?")
        assert [len(message.tool_calls), len(message.invalid_tool_calls)] == [1, 1]
        assert message.response_metadata["finish_reason"] == "length"

    def test_rewards_see_calls_and_the_search_picks_by_them(self):
        seen = []

        def reward(messages, responses):
            seen.extend(responses)
            return [float("Bergen" in str(response.tool_calls)) for response in responses]

        message = chat(OSLO, BERGEN, "No.", reward=reward).bind_tools([weather]).invoke("Weather?")
        assert calls(message) == [("weather", {"city": "Bergen"})]
        assert sorted(len(response.tool_calls) for response in seen) == [0, 1, 1]

    def test_rewards_see_finished_calls_of_unfinished_text(self):
        seen = []

        def reward(messages, responses):
            seen.extend(r for r in responses if r.response_metadata["finish_reason"] is None)
            return [0.0] * len(responses)

        from langchain_darwin import Darwin

        text = OSLO + "\n" + BERGEN
        search = Darwin(beams=2, cycles=1, period=3, keep=1)
        chat(text, text, reward=reward, search=search).bind_tools([weather]).invoke("Weather?")
        assert {len(response.tool_calls) for response in seen} == {0, 1}
        assert not any(response.invalid_tool_calls or response.text for response in seen)

    def test_mutation_leaves_calls_and_results_alone(self):
        prompts = []

        def respond(conversation, tools):
            prompts.append(conversation)
            return "Please tell me about the weather now." if "Rewrite" in conversation else "It rains."

        history = [
            HumanMessage("Tell me about the weather"),
            AIMessage("", tool_calls=[call("weather", "1", city="Oslo")]),
            ToolMessage("rain in Oslo", tool_call_id="1"),
        ]
        model = ChatDarwin(model=ScriptedPolicy(respond), reward=lambda m, r: [0.0] * len(r), seed=1)
        model.bind_tools([weather]).invoke(history)
        answers = [prompt for prompt in prompts if "Rewrite" not in prompt]
        assert all("tool: rain in Oslo" in prompt for prompt in answers)

    def test_dropped_when_the_model_may_not_call(self):
        assert chat(OSLO).bind_tools([weather], tool_choice="none").invoke("Weather?").text == OSLO


class TestStreaming:
    TEXTS = (
        f"Looking.\n{OSLO}\n{BERGEN}",
        OSLO,
        f"<think>\nHm.\n</think>\nNow: {OSLO} and so on.",
        f"{OSLO}\n<tool_call>\n" + '{"name": "weather", "arguments": {"city": "B',
        "Just <tool talk.",
    )

    def joined(self, model, **options):
        chunks = list(model.stream("Weather?"))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return whole, chunks

    @pytest.mark.parametrize("text", TEXTS)
    def test_joined_it_equals_invoke(self, text):
        model = chat(text).bind_tools([weather])
        whole, _ = self.joined(model)
        message = model.invoke("Weather?")
        assert (whole.content, whole.tool_calls, whole.additional_kwargs) == (
            message.content,
            message.tool_calls,
            message.additional_kwargs,
        )
        assert bare(whole.invalid_tool_calls) == bare(message.invalid_tool_calls)
        assert whole.response_metadata["finish_reason"] == message.response_metadata["finish_reason"]

    async def test_asynchronously_too(self):
        model = chat(self.TEXTS[0]).bind_tools([weather])
        chunks = [chunk async for chunk in model.astream("Weather?")]
        whole, _ = self.joined(model)
        assert [chunk.tool_call_chunks for chunk in chunks if chunk.tool_call_chunks] == [
            [part] for part in whole.tool_call_chunks
        ]

    def test_no_part_of_a_call_is_streamed_as_text(self):
        _, chunks = self.joined(chat(self.TEXTS[0]).bind_tools([weather]))
        assert "".join(str(chunk.content) for chunk in chunks) == "Looking."

    @pytest.mark.parametrize("text", TEXTS)
    def test_blocks_of_version_1_do_not_collide(self, text):
        whole, _ = self.joined(chat(text, output_version="v1").bind_tools([weather]))
        message = chat(text, output_version="v1").bind_tools([weather]).invoke("Weather?")
        kinds = [block["type"] for block in whole.content_blocks]
        assert kinds.count("tool_call") == len(message.tool_calls)
        assert whole.text == message.text

    def test_events_of_version_3(self):
        stream = chat(self.TEXTS[0]).bind_tools([weather]).stream_events("Weather?", version="v3")
        message = stream.output
        assert (message.text, calls(message)) == (
            "Looking.",
            [("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen"})],
        )


def bare(invalid):
    return [{key: value for key, value in each.items() if key != "error"} for each in invalid]
