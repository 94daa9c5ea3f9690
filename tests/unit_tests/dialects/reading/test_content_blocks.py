"""Text in content blocks of LangChain and of providers."""

import base64

import pytest

from langchain_darwin.dialects.reading.content_blocks import reasoning_of, text_of
from langchain_darwin.errors import InvalidRequestError

NOTES = base64.b64encode("Notes: é".encode()).decode()

TEXTS = [
    ({"type": "text", "text": "A"}, "A"),
    ({"type": "output_text", "text": "A", "annotations": []}, "A"),
    ({"type": "input_text", "text": "A"}, "A"),
    ({"text": "A"}, "A"),
    ({"type": "text", "text": {"value": "A", "annotations": []}}, "A"),
    ({"type": "refusal", "refusal": "I cannot."}, "I cannot."),
    ({"type": "text-plain", "text": "A"}, "A"),
    ({"type": "text-plain", "base64": NOTES, "mime_type": "text/plain"}, "Notes: é"),
    ({"type": "text-plain", "base64": NOTES}, "Notes: é"),
    ({"type": "file", "source_type": "text", "text": "A"}, "A"),
    ({"type": "file", "base64": NOTES, "mime_type": "text/markdown"}, "Notes: é"),
    ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A"}}, "A"),
    ({"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": NOTES}}, "Notes: é"),
    ({"type": "json", "json": {"city": "Tromsø"}}, '{"city": "Tromsø"}'),
    ({"type": "search_result", "source": "u", "title": "t", "content": [{"type": "text", "text": "A"}]}, "A"),
    ("A", "A"),
]
NO_TEXTS = [
    {"type": "redacted_thinking", "data": "c2VjcmV0"},
    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
    {"type": "tool_use", "id": "1", "name": "f", "input": {}},
    {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {"query": "q"}},
    {"type": "web_search_call", "id": "1", "status": "completed"},
    {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
    {"type": "non_standard", "value": {"x": 1}},
    {"type": "executable_code", "executable_code": "1 + 1"},
]


@pytest.mark.parametrize(("block", "text"), TEXTS)
@pytest.mark.parametrize("own", [True, False])
def test_text_is_read_in_every_form(block, text, own):
    assert text_of(["<", block, {"type": "text", "text": ">"}], "messages[0]", own=own) == f"<{text}>"


@pytest.mark.parametrize("block", NO_TEXTS, ids=lambda block: block["type"])
def test_what_is_no_text_is_left_out_of_what_an_assistant_wrote(block):
    assert text_of([block, {"type": "text", "text": "A"}], "messages[0]", own=True) == "A"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
        {"type": "text-plain", "url": "https://example.com/x.txt"},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/x.pdf"}},
        {"type": "video"},
    ],
    ids=lambda block: block["type"],
)
def test_what_is_no_text_is_refused_elsewhere(block):
    with pytest.raises(InvalidRequestError, match=rf"messages\[2\] holds content of type '{block['type']}'"):
        text_of([block], "messages[2]", own=False)


@pytest.mark.parametrize("data", ["not base64!", base64.b64encode(b"\xff\xfe").decode()])
def test_a_file_that_is_no_text_is_said_to_be_none(data):
    with pytest.raises(InvalidRequestError, match=r"messages\[0\] holds a 'text-plain' block that is no base64"):
        text_of([{"type": "text-plain", "base64": data}], "messages[0]", own=False)


@pytest.mark.parametrize(
    ("blocks", "reasoning"),
    [
        ("text", ""),
        ([{"type": "reasoning", "reasoning": "a"}, {"type": "thinking", "thinking": "b"}, "c"], "ab"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"text": "b"}]}], "a\n\nb"),
        ([{"type": "reasoning_content", "reasoning_content": {"text": "a", "signature": "x"}}], "a"),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "reasoning"}], ""),
    ],
)
def test_reasoning(blocks, reasoning):
    assert reasoning_of(blocks) == reasoning
