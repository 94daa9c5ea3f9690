"""Devices and number types by name, and refusals of what there is not."""

import pytest
import torch

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.inference import devices
from langchain_darwin.inference.devices import resolve_device, resolve_dtype


def test_dtype_and_device_by_name():
    assert resolve_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16
    assert resolve_dtype(torch.float16, torch.device("cpu")) is torch.float16
    assert resolve_dtype("auto", torch.device("mps")) is torch.float32
    assert resolve_device(torch.device("cpu")) == resolve_device("cpu") == torch.device("cpu")


def test_gpus_without_bfloat16_compute_in_float16(monkeypatch):
    for native, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=native, **_: native)
        assert resolve_dtype("auto", torch.device("cuda")) is expected


def test_wrong_dtypes_and_devices_are_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="dtype='int3' is unknown; use 'auto', 'float32'"):
        resolve_dtype("int3", torch.device("cpu"))
    with pytest.raises(ConfigurationError, match="device='gpu' is unknown"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="device='cuda:0' is not available"):
        resolve_device("cuda:0")


def test_auto_device_prefers_cuda_then_mps_then_cpu(monkeypatch):
    for present, expected in ((["cuda", "mps"], "cuda"), (["mps"], "mps"), ([], "cpu")):
        monkeypatch.setattr(devices, "_available", present.__contains__)
        assert resolve_device("auto") == torch.device(expected)
