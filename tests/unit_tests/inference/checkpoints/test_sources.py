"""What a model's name may be, and what is said of the other things that people pass."""

import json
from pathlib import Path

import pytest

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError
from langchain_darwin.inference.checkpoints.sources import resolve_source


@pytest.mark.parametrize("name", ["gpt2", "org/name", "Qwen/Qwen2.5-0.5B-Instruct", "a_b/c-d.e"])
def test_hub_ids_stay_as_they_are(name):
    assert resolve_source(name) == name


def test_folders_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert {resolve_source(each) for each in ("model", "./model", Path("model"), tmp_path / "model")} == {
        str(tmp_path / "model")
    }


@pytest.mark.parametrize("missing", ["/no/such/folder", "./no-such", "~/no/such", Path("no-such"), "a/b/c", "a\\b"])
def test_a_missing_folder_is_named(missing):
    with pytest.raises(ModelNotFound, match=r"^model='.*': no such folder; pass a folder with config.json or"):
        resolve_source(missing)


@pytest.mark.parametrize("name", ["llama3:8b", "qwen3:latest", "hf.co/org/name:Q4_K_M", "library/phi3:3.8b"])
def test_ollama_names_are_told_what_to_pass(name):
    with pytest.raises(ModelNotFound, match=r"(as Ollama names models; pass the Hugging Face hub id|no such folder)"):
        resolve_source(name)


@pytest.mark.parametrize("name", ["", " ", "two words", "org/name?x", "org/na\nme", "Modell ü"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ModelNotFound, match="is neither a folder nor a Hugging Face hub id"):
        resolve_source(name)


@pytest.mark.parametrize("name", ["model-Q4_K_M.gguf", "/no/such/model.GGUF", "org/name.gguf"])
def test_gguf_files_are_told_the_way_out(name):
    with pytest.raises(UnsupportedModelError, match=r"is a GGUF file, .* pass the hub id or folder"):
        resolve_source(name)


def test_a_folder_of_gguf_files_too(tmp_path):
    (tmp_path / "model-Q4_1.gguf").write_bytes(b"GGUF")
    with pytest.raises(UnsupportedModelError, match="is a GGUF file"):
        resolve_source(tmp_path)


@pytest.mark.parametrize(
    ("stated", "base"),
    [(json.dumps({"base_model_name_or_path": "org/base"}), "'org/base'"), ("{}", "another model"), ("[", "another")],
)
def test_adapters_name_their_base(stated, base, tmp_path):
    (tmp_path / "adapter_config.json").write_text(stated)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match=f"is a LoRA adapter of {base}.*merge it into its base"):
        resolve_source(str(tmp_path))


def test_one_file_of_a_model_names_the_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match="is a file; pass the folder that holds it"):
        resolve_source(tmp_path / "model.safetensors")


def test_a_folder_of_something_else_is_not_a_model(tmp_path):
    with pytest.raises(ModelNotFound, match=r"is a folder without config\.json"):
        resolve_source(tmp_path)
