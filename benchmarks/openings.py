"""How many answers of a comparison begin with an apology or an offer of help, search by search.

    python benchmarks/openings.py build/proof/preference-5     # after benchmarks/proof.py preference

A reward fitted to preferences about harmlessness likes such phrases, so a search guided by it may write them where
nobody asked. OPENINGS lists what is looked for; letter case and kind of apostrophe do not matter.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

from langchain_darwin.evaluation.records import POOL, read_records

OPENINGS = re.compile(
    r"(i'm|i am|we're|we are) (really |very |so |truly )?(sorry|afraid|glad|happy|here|delighted)\b"
    r"|i('d| would) (be|love|like)\b|i apologi[sz]e\b|(my )?apologies\b|sorry\b|thank(s| you)\b|i understand\b"
    r"|i can('t|not)\b|as an ai\b|of course\b|sure\b|certainly\b",
    re.IGNORECASE,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the comparison")
    records = read_records(parser.parse_args().folder)
    print("| search | answers | with such an opening | the most frequent one |\n|---|---:|---:|---|")
    for label, texts in answers(records).items():
        found = [match.group().lower() for text in texts if (match := opening(text))]
        most = max(sorted(set(found)), key=found.count, default="-")
        print(f"| {label} | {len(texts)} | {len(found) / len(texts):.0%} | {most} |")


def answers(records):
    """All texts of each search of the last plan, those of the pool first."""
    texts: dict[str, list[str]] = defaultdict(list)
    names = {POOL: "one plain sample", **{digest: label for label, digest in records.plan.searches.items()}}
    wanted = set(records.plan.keys())
    for digest, name in names.items():
        for record in records.done.values():
            if record.search == digest and record.key in wanted:
                turns = record.pools or [record.answers]
                texts[name] += [answer.text for turn in turns for answer in turn]
    return texts


def opening(text):
    return OPENINGS.match(text.lstrip().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


if __name__ == "__main__":
    main()
