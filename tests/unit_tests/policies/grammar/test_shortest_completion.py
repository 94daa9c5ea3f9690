"""Ways to a valid end, on a small vocabulary; on the embedded model's in tests/integration_tests."""

import pytest

pytest.importorskip("xgrammar")

from langchain_darwin.dialects.formats import HERMES, QWEN_XML
from langchain_darwin.dialects.tool_use import tool_use
from langchain_darwin.policies.base import Constraint
from langchain_darwin.policies.grammar.shortest_completion import tag_ends
from tests.noise import Noise
from tests.shortest_completion_contract import TOOLS, ShortestCompletionContract


class TestTiny(ShortestCompletionContract):
    limits = (140,)  # type: ignore[assignment]  # its tokens are single letters, or little more
    few = 160

    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls):
        return Noise.tiny()


def test_ends_of_tags_are_read_off_the_constraint():
    use = tool_use({"tools": TOOLS, "tool_choice": "any"})
    assert tag_ends(use.constraint(QWEN_XML)) == ("\n</parameter>", "\n</function>\n</tool_call>")
    assert tag_ends(use.constraint(HERMES)) == ("}\n</tool_call>",)
    assert tag_ends(Constraint("regex", "a")) == ()


def test_what_stands_in_a_schema_is_no_tag():
    tricky = {"type": "object", "properties": {"type": {"const": "tag"}, "end": {"type": "string"}}}
    named = [{"type": "function", "function": {"name": "f", "parameters": tricky}}]
    assert tag_ends(tool_use({"tools": named, "tool_choice": "any"}).constraint(HERMES)) == ("}\n</tool_call>",)
