"""Prompts that ask a model for rewritings of an instruction."""

from __future__ import annotations

from typing import NamedTuple

REWRITER = "You rewrite instructions. You never carry them out."
REWRITE = "Rewrite this instruction so that it {aim}. Do not carry it out.\n\n<<{wording}>>"


class Angle(NamedTuple):
    """What a rewriting aims at, with an example: an instruction and its rewriting."""

    aim: str
    wording: str
    rewriting: str


ANGLES = (
    Angle(
        "is more specific",
        "How do I grow tomatoes?",
        "What soil, light and water do I need to grow healthy tomatoes?",
    ),
    Angle(
        "speaks to an expert",
        "Write a poem about 3 cats.",
        "As a poet who loves animals, write a poem about 3 cats.",
    ),
    Angle(
        "uses other words",
        "What is a good name for my dog?",
        "What should I call my dog?",
    ),
    Angle(
        "asks for a well organised answer",
        "Explain the water cycle in 5 sentences.",
        "Explain the water cycle in 5 sentences, step by step, from rain to rain.",
    ),
    Angle(
        "is short and simple",
        "I have a headache and would like to know what helps.",
        "What helps against a headache?",
    ),
    Angle(
        "asks for examples and details",
        "Describe a castle.",
        "Describe a castle with its towers, halls and gardens. Give vivid details.",
    ),
)

ADDITIONS = (
    "Be specific.",
    "Think about what is asked, and answer all of it.",
    "Give a well organised answer.",
    "Answer as an expert would.",
    "Keep it short and simple.",
    "Give examples and details.",
)

REWRITE_LIST = """\
You are a professional prompt engineer. Below is an instruction that someone wrote for an assistant. Write \
exactly {n} mutated instructions that ask for the same thing more clearly. All of them must keep the \
intention of the original. Hint: you may add or remove details, or rephrase it. Reply with a numbered list \
and nothing else.

Original instruction: How do I grow tomatoes?
Mutated instructions:
{example}

Original instruction: {wording}
Mutated instructions:"""

EXAMPLE = (
    "How do I grow tomatoes at home, from seed to harvest?",
    "Explain step by step how to grow healthy tomatoes.",
    "What soil, light and water do tomatoes need in order to grow well?",
    "Give a beginner clear advice on growing tomatoes in a small garden.",
    "Describe how to grow tomatoes and which mistakes to avoid.",
)
