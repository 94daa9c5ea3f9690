"""Fakes for tests: a policy that needs no model, and a reward that counts words.

They let you test your own chains, rewards and searches in milliseconds, with the same results on every run:

    from langchain_darwin import ChatDarwin
    from langchain_darwin.testing import ScriptedPolicy, keyword_reward

    def test_the_search_finds_the_sea():
        chat = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward("sea"), seed=1)
        assert "sea" in chat.invoke("Write a line").text

To decide what the policy says, give it a function; a list of answers is shared out among the beams:

    def respond(conversation, tools):
        if "weather" in conversation:
            return '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
        return ["The sea is calm.", "The sky is grey."]

    ScriptedPolicy(respond)

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.testing.keywords import keyword_reward
    from langchain_darwin.testing.scripted_policy import Respond, ScriptedPolicy
    from langchain_darwin.testing.word_codec import WordCodec
    from langchain_darwin.testing.word_model import WORDS

__all__ = [
    "WORDS",
    "Respond",
    "ScriptedPolicy",
    "WordCodec",
    "keyword_reward",
]

_HOMES = {
    "Respond": "scripted_policy",
    "ScriptedPolicy": "scripted_policy",
    "WORDS": "word_model",
    "WordCodec": "word_codec",
    "keyword_reward": "keywords",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
