"""What a decode step may do on a GPU, counted without one; `tests.pretended_gpu` says how."""

import json
import os
import subprocess
import sys

import pytest

SAMPLINGS = ["top-k", "top-p", "plain", "greedy", "min_tokens"]


@pytest.fixture(scope="module")
def report():
    """The counts; operations that mix devices would have ended the process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretended_gpu"],
        capture_output=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_step_waits_for_the_device_once_and_uploads_nothing(report, sampling):
    steps = report["steps"][sampling]
    assert list(steps["waits"].values()) == [3]  # in one place, in each of 3 steps
    assert steps["uploads"] == {}


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_no_tensor_on_the_device_is_of_double_precision(report, sampling):
    assert report["steps"][sampling]["float64"] == {}


def test_uploads_of_a_round_are_few_and_do_not_grow_with_the_layers(report):
    one_layer, two_layers = report["uploads of a round"]
    assert one_layer == two_layers <= 12


def test_kernels_of_a_layer_grow_no_more(report):
    assert report["kernels a layer"] == {"llama": 41, "qwen3": 57}


def test_shapes_of_attention_repeat_while_texts_grow(report):
    found = report["attention shapes"]
    assert found["steps"] == 64
    assert found["shapes"] <= found["steps"] / 64 + found["rows"]


def test_keys_keep_their_address_while_texts_grow(report):
    shown, addresses = zip(*report["addresses"], strict=True)
    assert len(shown) >= 2
    assert len(set(addresses)) == 1


def test_a_continued_text_computes_one_token_of_its_prefix(report):
    assert report["prefilled in later rounds"] == [[1] * 5]
