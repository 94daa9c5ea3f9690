"""Grammars of one model are made once, under the tokenizer's lock."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("xgrammar")

from langchain_darwin.inference.chat_codec import ChatCodec
from langchain_darwin.policies.grammar import grammars
from langchain_darwin.policies.grammar.lazy_grammars import LazyGrammars
from tests.tiny_models import CHATML, tiny_tokenizer


@pytest.fixture
def codec():
    return ChatCodec(tiny_tokenizer(CHATML), frozenset({2}))


def test_threads_that_ask_together_get_the_same_grammars(codec, monkeypatch):
    made = []

    class Slow(grammars.Grammars):
        def __init__(self, *args):
            time.sleep(0.05)
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(grammars, "Grammars", Slow)
    lazy = LazyGrammars(codec, len(codec.tokenizer))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: lazy(), range(4)))
    assert (found, len(made)) == ([made[0]] * 4, 1)
    assert (found[0].vocab_size, found[0].end_ids) == (len(codec.tokenizer), [2])


def test_the_tokenizer_is_read_under_its_lock(codec):
    lazy = LazyGrammars(codec, len(codec.tokenizer))
    with codec.lock:
        reading = threading.Thread(target=lazy)
        reading.start()
        reading.join(0.2)
        assert reading.is_alive()
    reading.join(30)
    assert not reading.is_alive()
