"""One cache a row: every logit equals the plain forward's, for each family."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from langchain_darwin.inference.memory import row_caches
from langchain_darwin.inference.memory.row_caches import RowCaches
from langchain_darwin.inference.memory.rows import RowStore
from tests.tiny_models import FAMILIES, HYBRIDS, cached_tiny_model

TEXT = tuple(torch.randint(10, 300, (60,), generator=torch.Generator().manual_seed(1)).tolist())


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads only wait for one another in models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model(request.param)).eval()


@pytest.fixture(scope="module")
def hybrid():
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model(HYBRIDS[0])).eval()


def plain(model, *texts):
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([text]), use_cache=False).logits[0, -1] for text in texts])


def close_to(logits, expected):
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def step(store, ids):
    return store.step(torch.tensor(ids), ids)


def counts(rows):
    return [(row.prefilled, row.reused) for row in rows]


def test_open_and_step_equal_the_plain_forward(model):
    store: RowStore = RowCaches(model, max_rows=4)
    texts = [TEXT[:30], TEXT[5:17], TEXT[:12]]
    rows, logits = store.open(texts)
    close_to(logits, plain(model, *texts))
    for turn in range(4):
        added = {id(row): TEXT[40 + turn + index] for index, row in enumerate(rows)}
        logits = step(store, [added[id(row)] for row in store.live])
        close_to(logits, plain(model, *(row.tokens for row in store.live)))
    assert [row.tokens[-4:] for row in rows] == [list(TEXT[40 + index :][:4]) for index in range(3)]


def test_the_same_prefix_twice_is_computed_once_and_forks(model):
    store = RowCaches(model)
    rows, logits = store.open([TEXT[:20], TEXT[:20]])
    close_to(logits, plain(model, TEXT[:20], TEXT[:20]))
    assert counts(rows) == [(20, 0), (0, 20)]
    logits = step(store, [7, 8])
    close_to(logits, plain(model, *(row.tokens for row in store.live)))


def test_a_closed_row_is_continued(model):
    store = RowCaches(model)
    store.open([TEXT[:20]])
    step(store, [TEXT[20]])
    store.close(store.live[:])
    assert (store.live, store.free()) == ([], 32)
    rows, logits = store.open([TEXT[:35]])
    close_to(logits, plain(model, TEXT[:35]))
    assert counts(rows) == [(14, 21)]


def test_a_closed_row_wanted_by_several_is_copied_for_each(model):
    store = RowCaches(model)
    store.open([TEXT[:20]])
    store.close(store.live[:])
    texts = [TEXT[:25], (*TEXT[:20], 5, 6), TEXT[:20]]
    rows, logits = store.open(texts)
    close_to(logits, plain(model, *texts))
    assert counts(rows) == [(5, 20), (2, 20), (0, 20)]


def test_rows_of_one_length_step_in_one_pass(model, monkeypatch):
    store = RowCaches(model, max_rows=8)
    assert store._joins
    sizes, run = [], store._run
    monkeypatch.setattr(store, "_run", lambda new, cache: (sizes.append(len(new)), run(new, cache))[1])
    rows, _ = store.open([TEXT[start : start + 9] for start in range(4)] + [TEXT[20:25]])
    sizes.clear()
    for turn in range(3):
        logits = step(store, [TEXT[30 + turn + place] for place in range(5)])
        close_to(logits, plain(model, *(row.tokens for row in store.live)))
    assert sorted(sizes) == [1, 1, 1, 4, 4, 4]
    store.close([rows[1], rows[4]])
    again, logits = store.open([(*rows[1].tokens, 7), (*rows[0].tokens, 8)])
    close_to(logits, plain(model, *(row.tokens for row in again)))
    assert counts(again) == [(1, 12), (1, 12)]
    sizes.clear()
    logits = step(store, [5] * 5)
    close_to(logits, plain(model, *(row.tokens for row in store.live)))
    assert sorted(sizes) == [2, 3]


def test_a_model_whose_caches_cannot_be_joined_steps_row_by_row(hybrid, monkeypatch):
    def apart(parts):
        raise ValueError

    monkeypatch.setattr(row_caches, "_join", apart)
    store = RowCaches(hybrid)
    assert not store._joins
    store.open([TEXT[:9], TEXT[1:10]])
    close_to(step(store, [3, 4]), plain(hybrid, (*TEXT[:9], 3), (*TEXT[1:10], 4)))


def test_one_by_one_where_a_model_forgets_its_state_in_chunks(hybrid):
    store = RowCaches(hybrid)
    assert store._stepwise is False
    store._stepwise = True
    store.open([TEXT[:20]])
    store.close(store.live[:])
    rows, logits = store.open([TEXT[:30]])
    close_to(logits, plain(hybrid, TEXT[:30]))
    assert counts(rows) == [(10, 20)]


def test_a_model_that_forgets_is_found_out(hybrid, monkeypatch):
    forward = hybrid.forward

    def forgetful(inputs, past_key_values=None, logits_to_keep=0, **options):
        if inputs.shape[1] > 1 and past_key_values.get_seq_length():
            past_key_values.layers[0].conv_states[0].zero_()
            past_key_values.layers[0].recurrent_states[0].zero_()
        return forward(inputs, past_key_values=past_key_values, logits_to_keep=logits_to_keep, **options)

    monkeypatch.setattr(hybrid, "forward", forgetful)
    assert RowCaches(hybrid)._stepwise is True


def test_a_text_that_parts_from_a_closed_row_is_computed_anew(hybrid):
    store = RowCaches(hybrid)
    store.open([TEXT[:20]])
    store.close(store.live[:])
    rows, logits = store.open([(*TEXT[:15], 9, 9)])
    close_to(logits, plain(hybrid, (*TEXT[:15], 9, 9)))
    assert counts(rows) == [(17, 0)]


def test_a_live_row_is_copied_and_goes_on_by_itself(hybrid):
    store = RowCaches(hybrid)
    store.open([TEXT[:20]])
    rows, _ = store.open([TEXT[:22]])
    assert counts(rows) == [(2, 20)]
    logits = step(store, [3, 4])
    close_to(logits, plain(hybrid, (*TEXT[:20], 3), (*TEXT[:22], 4)))


def test_least_recently_used_states_are_dropped(hybrid):
    store = RowCaches(hybrid, max_rows=3, max_idle=2)
    for start in range(3):
        store.open([TEXT[start : start + 10]])
        store.close(store.live[:])
    rows, _ = store.open([TEXT[start : start + 11] for start in range(3)])
    assert counts(rows) == [(11, 0), (1, 10), (1, 10)]


def test_more_rows_than_there_is_room_for_are_refused(hybrid):
    store = RowCaches(hybrid, max_rows=1)
    with pytest.raises(ValueError, match="2 rows asked for, but only 1 of max_rows=1 are free"):
        store.open([TEXT[:3], TEXT[:4]])
    assert store.live == []
