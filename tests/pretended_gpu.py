"""The decode loop on a GPU that is not there: what a step launches, where it waits, what it uploads and allocates.

    python -m tests.pretended_gpu    # prints JSON

Runs in a process of its own, since it changes torch. Tensors are fake: they have shapes, types and devices, no numbers.
Tensors of two devices in one operation raise, as on a GPU. Whatever makes the host wait is counted with the line that
asked: an element that is read, a shape that depends on data, an upload.
"""

from __future__ import annotations

import collections
import functools
import itertools
import json
import queue
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

torch.inference_mode = lambda mode=True: torch.no_grad()  # type: ignore[assignment, misc]  # composite operators are then seen as what they are made of
_setup_privateuseone_for_python_backend("gpu")

from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from langchain_darwin.inference.memory.kv_slots import KVSlots  # noqa: E402
from langchain_darwin.policies.base import Job, Sampling  # noqa: E402
from langchain_darwin.policies.local.engine import Engine  # noqa: E402
from langchain_darwin.policies.sequences import Growth, open_submission  # noqa: E402

GPU = torch.device("gpu")
VIEWS = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "transpose",
        "expand",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
        "t",
        "permute",
        "alias",
        "detach",
        "as_strided",
        "split",
        "split_with_sizes",
        "unbind",
        "view_as",
        "lift_fresh",
        "expand_as",
        "narrow",
        "chunk",
        "device",
    ]
)
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 128256, "max_position_embeddings": 131072,
    },
    "qwen3": {
        "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
    },
}  # fmt: skip
"""Of Llama-3.1-8B and Qwen3-8B, but for the number of layers."""

_fresh = itertools.count(1000)  # drawn tokens: never the same twice, never an end


@dataclass
class Counts:
    """What happened, by the line of the package that asked for it.

    Attributes:
        kernels: By operator; a lower bound of launches.
        waits: Values that the host read from the device.
        uploads: Copies from the host to the device.
        float64: Tensors of double precision on the device.
        shapes: Of queries and keys in attention.
    """

    kernels: collections.Counter[str] = field(default_factory=collections.Counter)
    waits: collections.Counter[str] = field(default_factory=collections.Counter)
    uploads: collections.Counter[str] = field(default_factory=collections.Counter)
    float64: collections.Counter[str] = field(default_factory=collections.Counter)
    shapes: list[Any] = field(default_factory=list)


class Watch(TorchDispatchMode):
    """Counts operations; `now` is replaced to begin anew."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Counts()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        if name == "_local_scalar_dense":
            self.now.waits[_line()] += 1
            return 0.0 if args[0].dtype.is_floating_point else next(_fresh)
        if name in {"_unique2", "nonzero"}:
            self.now.waits[_line()] += 1
        if _is_upload(name, args, kwargs):
            self.now.uploads[_line()] += 1
            return torch.empty(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device=GPU)
        out = func(*args, **kwargs)
        if name not in VIEWS:
            self.now.kernels[name] += 1
        if isinstance(out, torch.Tensor) and out.dtype is torch.float64 and out.device.type == "gpu":
            self.now.float64[_line()] += 1
        return out


def _is_upload(name: str, args: Any, kwargs: Any) -> bool:
    to = kwargs.get("device")
    copies = name in {"_to_copy", "to"} and to is not None and torch.device(to).type == "gpu"
    return copies and args[0].device.type == "cpu"


def _line() -> str:
    for frame in reversed(traceback.extract_stack()):
        if "langchain_darwin" in frame.filename:
            return f"{frame.filename.rpartition('langchain_darwin/')[2]}:{frame.lineno}"
    return "elsewhere"


watch = Watch()


def _attention(query: Any, key: Any, value: Any, attn_mask: Any = None, **options: Any) -> Any:
    """Attention as torch does it with its memory-efficient kernel, padding of the mask included."""
    watch.now.shapes.append((tuple(query.shape), tuple(key.shape)))
    if attn_mask is not None:
        size = attn_mask.shape[-1]
        if size % 8:
            attn_mask = torch.nn.functional.pad(attn_mask, (0, 8 - size % 8))[..., :size]
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, attn_mask, False, 0.0, False, scale=options.get("scale"))[0]


def _tolist(tensor: Any) -> Any:
    """Read all elements, which are drawn tokens in the first of two rows, and 0 elsewhere."""
    watch.now.waits[_line()] += 1
    if tensor.dim() == 1:
        return [0] * tensor.shape[0]
    drawn, *others = ([0] * tensor.shape[1] for _ in range(tensor.shape[0]))
    return [[next(_fresh) % 90_000 + 1000 for _ in drawn], *others]


torch.nn.functional.scaled_dot_product_attention = _attention  # type: ignore[assignment]
FakeTensor.tolist = _tolist  # type: ignore[assignment]


class Codec:
    """As much of a codec as the engine asks for."""

    end_ids = frozenset({2})

    def decode(self, tokens: Iterable[int]) -> str:
        return ""


class Rounds:
    """Rounds of a search on one model: its texts grow, and the last of them is replaced by the first.

    Attributes:
        steps: Counts of each plain step, in which no text joins or leaves, by round.
        totals: Counts of each whole round.
        growths: Results by round.
        addresses: Of the first layer's keys at each step, with the columns shown.
    """

    def __init__(self, family: str, layers: int, sampling: Sampling, *, rows: int = 5, prompt: int = 600) -> None:
        self.steps: list[list[Counts]] = []
        self.totals: list[Counts] = []
        self.growths: list[list[Growth]] = []
        self.addresses: list[tuple[int, int]] = []
        self._sampling = sampling
        self._prompt = prompt
        self._texts = [tuple(range(10, 10 + prompt))] * rows
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        config = AutoConfig.for_model(family, num_hidden_layers=layers, **SHAPES[family])
        with torch.device("meta"):
            self._model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()

    def run(self, count: int, period: int = 16) -> Rounds:
        """Run `count` rounds of `period` tokens."""
        with FakeTensorMode(allow_non_fake_inputs=True), watch, torch.no_grad():
            store = functools.partial(KVSlots, self._model.to_empty(device=GPU), 64, budget=80 << 30)
            engine = Engine(store, Codec(), GPU, self._inbox, None, "pretended")
            for _ in range(count):
                self._round(engine, period)
        return self

    def _round(self, engine: Engine, period: int) -> None:
        jobs = [Job(t, self._prompt, self._sampling, key=k, tokens=period) for k, t in enumerate(self._texts)]
        submission = open_submission(jobs, None, 131072, Codec(), None)
        self._inbox.put(submission)
        engine._receive()
        turns = []
        while not submission.future.done():
            watch.now = Counts()
            engine.step()
            turns.append(watch.now)
            self._note_address(engine)
        growths = submission.future.result()
        self.growths.append(growths)
        self.steps.append(turns[1:-1])
        self.totals.append(_sum(turns))
        self._texts = [text + growth.tokens for text, growth in zip(self._texts, growths, strict=True)]
        self._texts[-1] = self._texts[0]

    def _note_address(self, engine: Engine) -> None:
        for table in engine._rows.store._classes.tables.values():
            self.addresses.append((table.cache._read, table.cache._keys[0].untyped_storage()._cdata))


def _sum(turns: Iterable[Counts]) -> Counts:
    whole = Counts()
    for turn in turns:
        for name in ("kernels", "waits", "uploads", "float64"):
            getattr(whole, name).update(getattr(turn, name))
        whole.shapes += turn.shapes
    return whole


def _step_shapes(rounds: Rounds) -> list[Any]:
    return [shape for total in rounds.totals for shape in total.shapes if shape[0][2] == 4]


def report() -> dict[str, Any]:
    """Everything that is known of the loop without a GPU."""
    samplings = {
        "top-k": Sampling(temperature=0.7, top_k=40, max_tokens=500),
        "top-p": Sampling(temperature=0.7, top_p=0.9, max_tokens=500),
        "plain": Sampling(temperature=1.0, max_tokens=500),
        "greedy": Sampling(temperature=0.0, max_tokens=500),
        "min_tokens": Sampling(temperature=0.7, top_k=40, max_tokens=500, min_tokens=400),
    }
    found: dict[str, Any] = {"steps": {}, "kernels a layer": {}}
    for name, sampling in samplings.items():
        steps = _sum(Rounds("llama", 1, sampling).run(1, period=5).steps[-1])
        found["steps"][name] = {"waits": steps.waits, "uploads": steps.uploads, "float64": steps.float64}
    for family in SHAPES:
        few, many = (Rounds(family, layers, samplings["top-k"]).run(2, period=5) for layers in (1, 2))
        ends = [min(sum(step.kernels.values()) for step in each.steps[-1]) for each in (few, many)]
        found["kernels a layer"][family] = ends[1] - ends[0]
        found["uploads of a round"] = [sum(each.totals[-1].uploads.values()) for each in (few, many)]
        found["prefilled in later rounds"] = [[g.prefilled for g in growths] for growths in few.growths[1:]]
    long = Rounds("llama", 1, samplings["top-k"]).run(4)
    shapes = _step_shapes(long)
    found["attention shapes"] = {
        "steps": len(shapes),
        "rows": len({q[0] for q, _ in shapes}),
        "shapes": len(set(shapes)),
    }
    found["addresses"] = sorted(set(long.addresses))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report(), indent=1))
