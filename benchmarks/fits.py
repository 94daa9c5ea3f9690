"""Says which models fit which GPU, policy and reward model together, by arithmetic on their shapes.

    python benchmarks/fits.py

Nothing is loaded or downloaded. Weights are counted on a model without memory, made from the published shape. A tenth
of the card is left for activations and CUDA itself; the rest holds weights, then cached keys and values.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

CARDS = (12, 24, 48, 80)  # GB
USABLE = 0.9
BYTES = {"bfloat16": 2.0, "8 bits": 1.0, "4 bits": 0.5625}  # 4 bits with a 16-bit scale and zero for each 64 weights
GB = 1e9


@dataclass(frozen=True)
class Shape:
    """A published model's shape; `tied` if input and output embeddings are one."""

    name: str
    family: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False
    head: int = 128

    def config(self) -> Any:
        return AutoConfig.for_model(
            self.family,
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head,
            vocab_size=self.vocabulary,
            tie_word_embeddings=self.tied,
        )

    def parameters(self) -> int:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.config(), dtype=torch.bfloat16)
        return sum(weight.numel() for weight in model.parameters())  # a tied matrix is counted once

    def kv_bytes(self) -> int:
        """Bytes of keys and values a token, in 16 bits."""
        return 2 * 2 * self.layers * self.kv_heads * self.head


SHAPES = (
    Shape("Qwen3-0.6B", "qwen3", 1024, 3072, 28, 16, 8, 151_936, tied=True),
    Shape("Qwen3-1.7B", "qwen3", 2048, 6144, 28, 16, 8, 151_936, tied=True),
    Shape("Qwen3-4B", "qwen3", 2560, 9728, 36, 32, 8, 151_936, tied=True),
    Shape("Qwen3-8B", "qwen3", 4096, 12_288, 36, 32, 8, 151_936),
    Shape("Llama-3.1-8B", "llama", 4096, 14_336, 32, 32, 8, 128_256),
    Shape("Qwen3-14B", "qwen3", 5120, 17_408, 40, 40, 8, 151_936),
    Shape("Qwen3-32B", "qwen3", 5120, 25_600, 64, 64, 8, 151_936),
)


def weights_table(counts: dict[str, int]) -> list[str]:
    lines = ["| shape | parameters | " + " | ".join(BYTES) + " | cache a token |", "|---|" + "---:|" * (2 + len(BYTES))]
    for shape in SHAPES:
        sizes = " | ".join(f"{counts[shape.name] * each / GB:.1f} GB" for each in BYTES.values())
        lines.append(
            f"| {shape.name} | {counts[shape.name] / 1e9:.2f} billion | {sizes} | {shape.kv_bytes() / 1024:.0f} KiB |"
        )
    return lines


def cards_table(counts: dict[str, int], reward: Shape) -> list[str]:
    """Tokens of cache that are left on each card beside a reward model in bfloat16."""
    held = counts[reward.name] * BYTES["bfloat16"]
    lines = [
        f"| policy, beside a reward model of {reward.name}'s shape | "
        + " | ".join(f"{card} GB" for card in CARDS)
        + " |",
        "|---|" + "---:|" * len(CARDS),
    ]
    for shape in SHAPES:
        for name, each in BYTES.items():
            left = [card * GB * USABLE - counts[shape.name] * each - held for card in CARDS]
            cells = " | ".join(f"{room / shape.kv_bytes() / 1000:,.0f}k" if room > 0 else "-" for room in left)
            lines.append(f"| {shape.name}, {name} | {cells} |")
    return lines


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    counts = {shape.name: shape.parameters() for shape in SHAPES}
    print("\n".join(weights_table(counts)), end="\n\n")
    for reward in (SHAPES[0], SHAPES[4]):
        print("\n".join(cards_table(counts, reward)), end="\n\n")


if __name__ == "__main__":
    main()
