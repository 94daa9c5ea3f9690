"""Memory by length class: bytes stay in the budget and shrink again; no text is longer for another's sake."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from langchain_darwin.errors import ContextOverflowError
from langchain_darwin.inference.memory import budget, length_classes, passes
from langchain_darwin.inference.memory.budget import bytes_per_token
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.memory.length_classes import KVMemoryError
from langchain_darwin.inference.memory.slot_cache import SlotCache
from langchain_darwin.inference.out_of_memory import is_out_of_memory
from tests.tiny_models import cached_tiny_model

TEXT = tuple(torch.randint(10, 300, (500,), generator=torch.Generator().manual_seed(1)).tolist())
OTHER = tuple(reversed(TEXT))


@pytest.fixture(scope="module")
def llama():
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model("llama")).eval()


@pytest.fixture(autouse=True)
def small_classes(monkeypatch):
    """Classes of up to 32, 128 and 512 tokens, in columns of 16."""
    monkeypatch.setattr(length_classes, "_SHORTEST_CLASS", 32)
    monkeypatch.setattr(budget, "COLUMNS_STEP", 16)
    monkeypatch.setattr(length_classes, "COLUMNS_STEP", 16)
    monkeypatch.setattr(length_classes, "_FORGOTTEN", 4)
    monkeypatch.setattr(passes, "_SHOWN_STEP", 16)


def token_bytes(model):
    return bytes_per_token(model.config, model.dtype)


def allocated(store):
    """Bytes of all tensors, counted from the tensors themselves."""
    caches = [table.cache for table in store._classes.tables.values()]
    return sum(t.numel() * t.element_size() for cache in caches for t in (*cache._keys, *cache._values))


def check(model, texts, logits):
    with torch.inference_mode():
        plain = [model(torch.tensor([list(text)]), use_cache=False).logits[0, -1] for text in texts]
    torch.testing.assert_close(logits, torch.stack(plain), atol=1e-4, rtol=0)


def step(model, store, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, 300, (len(store.live),), generator=generator).tolist()
    texts = [(*row.tokens, token) for row, token in zip(store.live, ids, strict=True)]
    check(model, texts, store.step(torch.tensor(ids), ids))


def test_the_bytes_of_a_token_are_as_the_configuration_says(llama):
    store = KVSlots(llama, 4)
    store.open([TEXT[:20]])
    assert next(iter(store._classes.tables.values())).cache.bytes_per_token() == token_bytes(llama)
    assert store.bytes == allocated(store)


def test_one_long_text_lengthens_no_short_one(llama):
    store = KVSlots(llama, 16)
    short = [(i + 10, *TEXT[:25]) for i in range(12)]
    store.open(short)
    before = store.bytes
    rows, logits = store.open([TEXT[:400]])
    check(llama, [TEXT[:400]], logits)
    assert store.bytes == allocated(store) == before + 8 * 416 * token_bytes(llama)
    for seed in range(3):
        step(llama, store, seed)
    store.close(rows)
    step(llama, store, 3)


def test_rows_that_outgrow_their_class_move_to_the_next_and_keep_their_places(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:30], TEXT[100:104], OTHER[:29], OTHER[200:300]])
    order = list(store.live)
    for seed in range(6):
        step(llama, store, seed)
    assert store.live == order
    assert [row.table for row in rows] == [128, 32, 128, 128]
    store.close([rows[0], rows[3]])
    step(llama, store, 7)
    again, logits = store.open([tuple(rows[0].tokens), (*rows[3].tokens, 5)])
    check(llama, [row.tokens for row in again], logits)
    assert [(row.prefilled, row.reused) for row in again] == [(1, 35), (1, 106)]


def test_a_text_begins_with_what_another_class_remembers(llama):
    store = KVSlots(llama, 4)
    rows, _ = store.open([TEXT[:30]])
    store.close(rows)
    [longer, shorter], logits = store.open([TEXT[:60], TEXT[:20]])
    check(llama, [TEXT[:60], TEXT[:20]], logits)
    assert (longer.reused, shorter.reused) == (30, 19)


def test_what_is_only_remembered_is_forgotten_before_the_budget_is_passed(llama):
    most = 900 * token_bytes(llama)
    store = KVSlots(llama, 4, budget=most)
    for start in range(0, 200, 10):
        rows, logits = store.open([OTHER[start : start + 25], TEXT[start : start + 200]])
        check(llama, [row.tokens for row in rows], logits)
        step(llama, store, start)
        assert allocated(store) <= most
        store.close(rows)


def test_texts_that_do_not_fit_together_are_refused_and_those_live_go_on(llama):
    store = KVSlots(llama, 4, budget=700 * token_bytes(llama))
    [row], _ = store.open([TEXT[:400]])
    with pytest.raises(KVMemoryError, match=r"2 texts of up to 390 tokens need .* kv_memory allows") as error:
        store.open([OTHER[:390]])
    assert is_out_of_memory(error.value)
    assert store.live == [row]
    step(llama, store)
    store.close([row])
    rows, logits = store.open([OTHER[:390]])
    check(llama, [OTHER[:390]], logits)
    store.close(rows)


def test_free_rows_are_those_for_which_there_is_memory(llama):
    store = KVSlots(llama, 4, budget=700 * token_bytes(llama))
    few = [(), (400, 30, 100), (100,) * 5, (690, 5)]
    assert [store.free(lengths) for lengths in few] == [4, 4, 4, 1]
    rows, _ = store.open([TEXT[:400]])
    more = [(), (400, 30), (30, 400), (30, 30, 200)]
    assert [store.free(lengths) for lengths in more] == [3, 0, 1, 2]
    new, logits = store.open([TEXT[100:130], OTHER[:30]])
    check(llama, [row.tokens for row in new], logits)
    store.close(rows)
    assert store.free([400, 30]) == 2


def test_texts_that_outgrow_the_budget_together_are_refused_their_next_step(llama):
    store = KVSlots(llama, 4, budget=300 * token_bytes(llama))
    store.open([TEXT[:140], OTHER[:140]])
    for seed in range(3):
        step(llama, store, seed)
    with pytest.raises(KVMemoryError):
        store.step(torch.tensor([5, 5]), [5, 5])
    assert [len(row.tokens) for row in store.live] == [143, 143]


def test_a_text_too_long_for_the_budget_alone_names_the_setting(llama):
    store = KVSlots(llama, 4, budget=200 * token_bytes(llama))
    assert store.longest_text == 191
    with pytest.raises(ContextOverflowError, match=r"a text of 192 tokens needs .*raise kv_memory"):
        store.open([TEXT[:192]])
    _, logits = store.open([TEXT[:191]])
    check(llama, [TEXT[:191]], logits)


def test_memory_that_nothing_uses_is_given_back(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:400], *[(i + 10, *TEXT[:300]) for i in range(7)]])
    store.close(rows)
    most = allocated(store)
    for start in range(6):
        rows, _ = store.open([OTHER[start : start + 20]])
        store.close(rows)
    assert allocated(store) == store.bytes < most / 10
    [row], logits = store.open([TEXT[:400]])
    check(llama, [TEXT[:400]], logits)
    assert row.reused == 0


def test_an_allocation_that_fails_leaves_live_rows_as_they_were(llama, monkeypatch):
    store = KVSlots(llama, 16)
    rows, _ = store.open([TEXT[:20], OTHER[:20]])
    store.close([rows[0]])
    resize = SlotCache.resize

    def failing(cache, slots, capacity, kept, width):
        keys, cache._values = cache._values, []  # one half of the layers gets its shape, the other has no memory
        resize(cache, slots, capacity, kept, width)
        cache._values = keys
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patch:
        patch.setattr(SlotCache, "resize", failing)
        with pytest.raises(torch.OutOfMemoryError):
            store.open([*(TEXT[i : i + 20] for i in range(9)), TEXT[20:50]])
    step(llama, store)
    new, logits = store.open([TEXT[i : i + 20] for i in range(7)])
    check(llama, [row.tokens for row in new], logits)


def test_numbers_that_are_not_finite_do_not_pass_to_the_next_text_of_a_slot(llama):
    store = KVSlots(llama, 1)
    for first in range(10, 70, 10):
        for text in ((first, *TEXT[:28]), (first, *OTHER[:29])):
            rows, _ = store.open([text])
            store.close(rows)
        overflow(store)
        for text in ((first, *TEXT[:4], 7, 8), (first, *OTHER[:3]), TEXT[first : first + 3]):
            rows, logits = store.open([text])
            check(llama, [text], logits)
            step(llama, store)
            store.close(rows)


def overflow(store):
    """Write NaN to all columns but the first 5 that slots have written, as float16 does when it overflows."""
    for table in store._classes.tables.values():
        for slot, written in enumerate(table.written):
            for tensor in (*table.cache._keys, *table.cache._values):
                with torch.inference_mode():
                    tensor[slot, :, 5:written] = float("nan")
