"""Damaged files are named before a model is loaded, through the door that loads it."""

import json
import shutil

import pytest

from langchain_darwin.errors import UnsupportedModelError
from langchain_darwin.inference.checkpoints.file_checks import check_files
from langchain_darwin.inference.loading import load_model
from tests.tiny_models import cached_tiny_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538090408\n"


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(cached_tiny_model("llama"), tmp_path / "model")


def test_whole_files_pass(model):
    check_files(model, "it")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_is_named(name, model):
    (model / name).write_bytes(POINTER)
    with pytest.raises(UnsupportedModelError, match=f"{name} is a Git LFS pointer, .*; download the model again"):
        load_model(model, device="cpu", dtype="float32")


@pytest.mark.parametrize("left", [0, 1, 7, 8, 50, 1000, -1])
def test_a_file_that_is_cut_short_is_named(left, model):
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:left])
    with pytest.raises(UnsupportedModelError, match=r"model\.safetensors (is empty|is cut short|does not begin|has a)"):
        load_model(model, device="cpu", dtype="float32")


def test_a_page_of_html_in_place_of_weights_is_named(model):
    (model / "model.safetensors").write_bytes(b"<html>" * 1000)
    with pytest.raises(UnsupportedModelError, match="does not begin with a safetensors header"):
        load_model(model, device="cpu", dtype="float32")


def test_a_missing_shard_is_named(model):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsupportedModelError, match=r"model-00001-of-00002\.safetensors is missing"):
        load_model(model, device="cpu", dtype="float32")


def test_a_configuration_that_is_no_json_is_an_error_of_ours(model):
    (model / "config.json").write_text("{not json")
    with pytest.raises(UnsupportedModelError, match=r"config\.json is not valid JSON"):
        load_model(model, device="cpu", dtype="float32")
