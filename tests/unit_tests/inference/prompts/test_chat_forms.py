"""A conversation in ever more changed forms."""

from langchain_darwin.inference.prompts.chat_forms import forms
from tests.codec_contract import assistant, system, user


def calling(text, *names):
    calls = [{"id": f"id_{name}", "function": {"name": name, "arguments": {}}} for name in names]
    return {"role": "assistant", "content": text, "reasoning_content": "Hm.", "tool_calls": calls}


def result(name, text):
    return {"role": "tool", "tool_call_id": f"id_{name}", "content": text}


def test_it_comes_first_as_it_is_and_no_form_twice():
    found = list(forms([user("a")]))
    assert found == [[user("a")], [{"role": "user", "content": [{"type": "text", "text": "a"}]}]]


def test_turns_are_joined_system_texts_move_and_unknown_roles_become_a_users():
    conversation = [system("S"), user("a"), user("b"), system("T"), {"role": "critic", "content": "c"}]
    assert list(forms(conversation))[:5] == [
        conversation,
        [system("S"), user("a\n\nb"), system("T"), {"role": "critic", "content": "c"}],
        [system("S"), user("a\n\nb\n\nT"), {"role": "critic", "content": "c"}],
        [user("S\n\na\n\nb\n\nT"), {"role": "critic", "content": "c"}],
        [user("S\n\na\n\nb\n\nT\n\nc")],
    ]


def test_parallel_calls_become_turns_with_their_results():
    conversation = [user("q"), calling("Both.", "a", "b"), result("b", "2"), result("a", "1"), assistant("Done.")]
    quiet = {key: value for key, value in calling("", "b").items() if key != "reasoning_content"}
    split = [user("q"), calling("Both.", "a"), result("a", "1"), quiet, result("b", "2"), assistant("Done.")]
    assert list(forms(conversation))[1] == split


def test_results_stay_with_the_calls_before_them_when_ids_come_again():
    first = [calling("", "a", "b"), result("a", "1"), result("b", "2")]
    second = [calling("", "a", "b"), result("a", "3"), result("b", "4"), result("c", "from nowhere")]
    split = list(forms([*first, user("again"), *second]))[1]
    assert [turn["content"] for turn in split] == ["", "1", "", "2", "again", "", "3", "", "4", "from nowhere"]
