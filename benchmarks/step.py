"""What one step of the decode batch costs on a CPU, part by part. Prints tables for docs/performance.md.

    python benchmarks/step.py                                    # the embedded model, about five minutes
    python benchmarks/step.py --rows 5 --contexts 600 --steps 100

A step gives every row one token. Half of the steps run as they are; the others, in turn with them, with a clock around
each part, which makes them a little slower. Texts are random tokens, since the numbers do not matter; sampling is the
paper's: temperature 0.7, top-k 40.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.inference.kernels.packed_linear import PackedLinear
from langchain_darwin.inference.loading import LoadedModel, load_model
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.memory.slot_cache import SlotCache
from langchain_darwin.policies.base import Sampling
from langchain_darwin.policies.local.sampling import draw, make_metadata

PAPER = Sampling(temperature=0.7, top_k=40)
OWN = 20  # last tokens of each text that no other row has, so that opening them is quick
PARTS = ("layers' products", "output product", "attention", "cache", "draw")


class Clock:
    """Seconds by part, while `running`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.running = False

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self.running:
                return function(*args, **kwargs)
            started = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[part] += time.perf_counter() - started
            return result

        return timed

    def watch(self, model: Any) -> None:
        """Time the model's matrix products from now on."""
        output = model.get_output_embeddings()
        for module in model.modules():
            if isinstance(module, (PackedLinear, nn.Linear)):
                part = "output product" if module is output else "layers' products"
                setattr(module, "forward", self.around(part, module.forward))  # noqa: B010 - mypy refuses a method


def measure(loaded: LoadedModel, clock: Clock, rows: int, context: int, steps: int) -> list[float]:
    """Milliseconds a step: median and least of whole steps, then the median of each part and of the rest."""
    store = KVSlots(loaded.model, max_rows=rows)
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(1000, loaded.model.config.vocab_size, (rows, context), generator=generator)
    texts[1:, :-OWN] = texts[0, :-OWN]
    _, logits = store.open([tuple(text) for text in texts.tolist()])
    plan = make_metadata([PAPER] * rows, list(range(rows)), [0] * rows, sorted(loaded.end_ids), loaded.device)
    positions = torch.full((rows,), context)
    choose = clock.around("draw", draw)
    whole, parts = [], []
    for turn in range(2 * steps + 4):
        clock.running, clock.seconds = turn % 2 == 1, defaultdict(float)
        started = time.perf_counter()
        tokens, _ = choose(logits, plan, positions + turn)
        logits = store.step(tokens, tokens.tolist())
        took = time.perf_counter() - started
        if turn < 4:  # kernels and memory are warming up
            continue
        if clock.running:
            parts.append([*(clock.seconds[part] for part in PARTS), took - sum(clock.seconds.values())])
        else:
            whole.append(took)
    columns = [statistics.median(column) for column in zip(*parts, strict=True)]
    return [1000 * seconds for seconds in (statistics.median(whole), min(whole), *columns)]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 5, 15, 40])
    parser.add_argument("--contexts", type=int, nargs="+", default=[100, 600, 1200], help="tokens, above 20")
    parser.add_argument("--steps", type=int, default=30, help="timed steps of either kind (default: 30)")
    parser.add_argument("--model", help="hub id or folder; the embedded model if left out")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    loaded = load_model(resolve_model(options.model), dtype=options.dtype, device="cpu")
    clock = Clock()
    clock.watch(loaded.model)
    attention = torch.nn.functional.scaled_dot_product_attention
    print(f"{loaded.name}, {loaded.dtype}, {torch.get_num_threads()} threads, ms a step\n")
    print(f"| rows | context | median | least | {' | '.join(PARTS)} | rest |\n|{'---:|' * (len(PARTS) + 5)}")
    with (
        patch.object(torch.nn.functional, "scaled_dot_product_attention", clock.around("attention", attention)),
        patch.object(SlotCache, "update", clock.around("cache", SlotCache.update)),
    ):
        for rows, context in product(options.rows, options.contexts):
            numbers = measure(loaded, clock, rows, context, options.steps)
            print(f"| {rows} | {context} | {' | '.join(f'{number:.1f}' for number in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
