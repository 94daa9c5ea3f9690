"""How many of a model's rewritings of instructions are of use, why the others are not, and what they cost.

    python benchmarks/rewriting.py prompts.jsonl --limit 40

Each instruction is rewritten once from every angle
of `langchain_darwin/search/mutation.py`, with the model's answer cut to one token.
"""

import argparse
import re
from collections import Counter

from langchain_darwin import ChatDarwin, Darwin
from langchain_darwin.evaluation.datasets.prompts import load_prompts
from langchain_darwin.search.base import Grown, Mutated
from langchain_darwin.search.mutation.prompts import ANGLES


def kind(fault: str | None) -> str:
    """A fault without what it names: 'it lost the number 3' and 'it lost the number 4' are one kind."""
    return "of use" if fault is None else " ".join(re.sub(r"\d+", "n", fault).split()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompts", help="as for `langchain-darwin compare --prompts`")
    parser.add_argument("--limit", type=int, default=40, help="how many of the prompts (default: 40)")
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--show", action="store_true", help="print the rewritings that are of use")
    options = parser.parse_args()
    model = ChatDarwin(model=options.model, reward=lambda _, responses: [0.0] * len(responses), max_tokens=1, seed=0)
    search = Darwin(beams=len(ANGLES) + 1)
    kinds: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    seconds = 0.0
    for instruction in (prompt.turns[0] for prompt in load_prompts(options.prompts).prompts[: options.limit]):
        for event in events_of(model, search, instruction):
            if isinstance(event, Mutated):
                kinds.update(map(kind, event.fallbacks))
                if options.show:
                    print(*set(event.instructions) - {instruction}, sep="\n")
            if isinstance(event, Grown) and event.beams[0].aside:
                tokens.update(prefilled=event.prefilled, reused=event.reused, decoded=event.decoded)
                seconds += event.seconds
    print(f"{sum(kinds.values())} rewritings, {seconds:.1f} s, {dict(tokens)}")
    for name, count in kinds.most_common():
        print(f"{count:5}  {name}")


def events_of(model: ChatDarwin, search: Darwin, instruction: str) -> list[object]:
    events: list[object] = []
    model.model_copy(update={"on_search_event": events.append, "search": search}).invoke(instruction)
    return events


if __name__ == "__main__":
    main()
