"""Slots: every logit equals the plain forward's, for each family; what is reused is counted exactly."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.memory.rows import RowStore
from langchain_darwin.inference.memory.slot_cache import SlotCache
from tests.tiny_models import FAMILIES, HYBRIDS, cached_tiny_model

TEXT = tuple(torch.randint(10, 300, (400,), generator=torch.Generator().manual_seed(1)).tolist())
OTHER = tuple(reversed(TEXT))


@pytest.fixture(scope="module", params=[family for family in FAMILIES if family not in HYBRIDS])
def model(request):
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model(request.param)).eval()


@pytest.fixture(scope="module")
def llama():
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model("llama")).eval()


def plain(model, texts):
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([list(t)]), use_cache=False).logits[0, -1] for t in texts])


def check(model, store, texts, logits):
    assert [row.slot for row in store.live] == list(range(len(store.live)))
    torch.testing.assert_close(logits, plain(model, texts), atol=1e-4, rtol=0)


def advance(store, ids):
    return store.step(torch.tensor(ids), ids)


def step(model, store, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, 300, (len(store.live),), generator=generator).tolist()
    texts = [(*row.tokens, token) for row, token in zip(store.live, ids, strict=True)]
    check(model, store, texts, advance(store, ids))


def costs(rows):
    return [(row.prefilled, row.reused) for row in rows]


def test_ragged_rows_equal_the_plain_forward(model):
    store: RowStore = KVSlots(model, 8)
    texts = [TEXT[:45], OTHER[:3], TEXT[100:101], TEXT[200:230], OTHER[50:79]]
    rows, logits = store.open(texts)
    check(model, store, texts, logits)
    for seed in range(3):
        step(model, store, seed)
    store.close([rows[0], rows[3]])
    step(model, store, 4)
    more = [(*tuple(rows[0].tokens), 17), tuple(rows[3].tokens[:20]) + TEXT[:5], (*tuple(rows[0].tokens), 18)]
    new, logits = store.open(more)
    check(model, store, more, logits)
    assert costs(new) == [(1, 48), (5, 20), (1, 48)]
    for seed in range(5, 40):  # past every sliding window
        step(model, store, seed)


def test_memory_grows_in_rows_and_columns(llama):
    store = KVSlots(llama, 40)
    store.open([TEXT[:5]])
    texts = [OTHER[i : i + 4 + i] for i in range(20)] + [TEXT[:300]]
    new, logits = store.open(texts)
    check(llama, store, texts, logits)
    assert costs(new)[-1] == (295, 5)
    step(llama, store, 0)
    assert store.free() == 40 - 22


def test_texts_that_outgrow_memory_while_they_decode_go_on_unharmed(llama):
    store = KVSlots(llama, 8)
    store.open([TEXT[:250], OTHER[:100], TEXT[:251]])
    for seed in range(12):  # the longest passes 256 columns on the way
        step(llama, store, seed)
    assert sorted(len(row.tokens) for row in store.live) == [112, 262, 263]


def test_siblings_share_what_one_of_them_computes(llama):
    store = KVSlots(llama, 8)
    rows, logits = store.open([TEXT[:50]] * 3 + [TEXT[:40] + OTHER[:9], TEXT[:5] + OTHER[20:30]])
    assert costs(rows) == [(50, 0), (1, 49), (1, 49), (9, 40), (15, 0)]
    check(llama, store, [tuple(row.tokens) for row in rows], logits)


def test_a_round_of_a_search_computes_one_token_a_row(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:30]] * 5)
    for seed in range(4):
        step(llama, store, seed)
    store.close(rows)
    kept = [(*tuple(row.tokens), 7) for row in rows]
    again, logits = store.open([kept[4], kept[1], kept[4], kept[4], kept[1]])
    assert costs(again) == [(1, 34)] * 5
    check(llama, store, [tuple(row.tokens) for row in again], logits)
    store.close(again)
    losers, _ = store.open([kept[0], kept[2]])
    assert costs(losers) == [(1, 34)] * 2


def test_rows_that_lack_one_token_get_it_with_the_next_step(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:30], OTHER[:20]])
    store.close(rows)
    computed = (*TEXT[:30], 7, 8)
    texts = [(*TEXT[:30], 9), computed, OTHER[:20], (5,)]
    rows, logits = store.open(texts, may_lag=True)
    assert [row.behind for row in rows] == [True, False, True, True]
    assert costs(rows) == [(1, 30), (2, 30), (1, 19), (1, 0)]
    torch.testing.assert_close(logits, plain(llama, [computed]), atol=1e-4, rtol=0)

    tokens = {row: 77 if row is rows[1] else text[-1] for row, text in zip(rows, texts, strict=True)}
    logits = advance(store, [tokens[row] for row in store.live])
    whole = [tuple(row.tokens) for row in store.live]
    check(llama, store, whole, logits)
    assert sorted(whole) == sorted([texts[0], (*computed, 77), texts[2], texts[3]])
    assert not any(row.behind for row in rows)
    step(llama, store, 3)


def test_siblings_may_all_be_behind(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:30]])
    store.close(rows)
    rows, logits = store.open([TEXT[:30]] * 3, may_lag=True)
    assert len(logits) == 0
    logits = advance(store, [TEXT[29]] * 3)
    check(llama, store, [TEXT[:30]] * 3, logits)


def test_the_same_prefix_again_computes_its_last_token_in_place(llama):
    store = KVSlots(llama, 2)
    for _ in range(3):
        rows, logits = store.open([TEXT[:30]])
        check(llama, store, [TEXT[:30]], logits)
        store.close(rows)
    assert costs(rows) == [(1, 29)]


def test_a_full_memory_gives_up_the_oldest_text(llama):
    store = KVSlots(llama, 1)
    slots = 2
    for i in range(slots + 1):
        rows, _ = store.open([TEXT[50 * i : 50 * i + 40]])
        store.close(rows)
    for i, cost in ((2, (1, 39)), (1, (1, 39)), (0, (40, 0))):
        rows, _ = store.open([TEXT[50 * i : 50 * i + 40]])
        assert costs(rows) == [cost]
        store.close(rows)


def test_it_remembers_as_many_texts_as_it_is_asked_to(llama):
    store = KVSlots(llama, 2, remember=20)
    texts = [TEXT[10 * i : 10 * i + 30] for i in range(24)]
    for text in texts:
        rows, _ = store.open([text])
        store.close(rows)
    again = []
    for text in reversed(texts[3:]):
        rows, logits = store.open([text])
        check(llama, store, [text], logits)
        store.close(rows)
        again += costs(rows)

    assert again == [(1, 29)] * 21


def test_texts_are_read_beside_live_rows(model):
    store = KVSlots(model, 8)
    store.open([OTHER[:30]])
    texts = [TEXT[:20], (*TEXT[:20], 7), OTHER[:25]]
    outputs, computed = store.read(texts)
    assert computed == 20 + 1 + 1
    torch.testing.assert_close(outputs, plain(model, texts), atol=1e-4, rtol=0)
    step(model, store, 0)
    grown = [(*TEXT[:20], 7, 8, 9), (*TEXT[:19], 5), OTHER[:28]]
    outputs, computed = store.read(grown)
    assert computed == 2 + 1 + 1
    torch.testing.assert_close(outputs, plain(model, grown), atol=1e-4, rtol=0)
    step(model, store, 1)


def test_what_is_read_again_grown_and_with_another_end_stays_in_its_place(llama, monkeypatch):
    store = KVSlots(llama, 4, remember=8)
    searches = [[(*TEXT[i : i + 30], 1), (*TEXT[i : i + 25], 1)] for i in (0, 100, 200)]
    for texts in searches:
        store.read(texts)
    monkeypatch.setattr(SlotCache, "swap", None)
    monkeypatch.setattr(SlotCache, "copy", None)
    for texts in searches:
        grown = [(*text[:-1], 2, 3, 1) for text in texts]
        outputs, computed = store.read(grown)
        assert computed == 6
        torch.testing.assert_close(outputs, plain(llama, grown), atol=1e-4, rtol=0)


def test_long_prefixes_are_computed_in_pieces(model, monkeypatch):
    monkeypatch.setattr("langchain_darwin.inference.memory.passes.PIECE", 32)
    store = KVSlots(model, 4)
    texts = [TEXT[:100], OTHER[:64], OTHER[100:105]]
    _, logits = store.open(texts)
    check(model, store, texts, logits)


def test_a_failed_forward_leaves_memory_as_it_was(llama):
    store = KVSlots(llama, 8)
    rows, _ = store.open([TEXT[:30], OTHER[:20]])
    forward, store._passes._forward = store._passes._forward, lambda *_: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        store.open([(*TEXT[:30], 5, 6), OTHER[100:140]])
    with pytest.raises(ZeroDivisionError):
        advance(store, [5, 6])
    store._passes._forward = forward
    assert sorted(map(id, store.live)) == sorted(map(id, rows))
    step(llama, store, 0)
    new, logits = store.open([(*TEXT[:30], 5, 6), OTHER[100:140]])
    assert costs(new) == [(2, 30), (40, 0)]
    check(llama, store, [tuple(row.tokens) for row in new], logits)


def test_it_computes_what_it_is_told(llama):
    def norms(inputs, cache):
        hidden = llama.model(
            inputs.ids, attention_mask=inputs.masks, position_ids=inputs.positions, past_key_values=cache
        )
        return hidden.last_hidden_state[torch.arange(len(inputs.ids)), inputs.last].float()

    _, outputs = KVSlots(llama, 4, forward=norms).open([TEXT[:20], OTHER[:7]])
    with torch.inference_mode():
        expected = [llama.model(torch.tensor([t])).last_hidden_state[0, -1] for t in (TEXT[:20], OTHER[:7])]
    torch.testing.assert_close(outputs, torch.stack(expected), atol=1e-4, rtol=0)
