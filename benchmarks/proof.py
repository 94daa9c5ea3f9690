"""What DARWIN gains over Best-of-N at equal policy tokens: the comparisons of docs/results.md, one a call.

    python benchmarks/proof_data.py FOLDER                   # first: gets the prompts and pairs
    python -m nltk.downloader punkt_tab                      # and what IFEval tells sentences by

    python benchmarks/proof.py verifiers --data FOLDER       # IFEval, guided by the share of instructions followed
    python benchmarks/proof.py rules --data FOLDER           # IFEval, guided by rules that know nothing of it
    python benchmarks/proof.py preference --data FOLDER      # AlpacaEval, guided by a head fitted to preferences
    python benchmarks/proof.py verifiers --data FOLDER --beams 15 --limit 30
    python benchmarks/proof.py verifiers --data FOLDER --skip 60 --only 'Darwin()'    # on prompts that are new to it
    python benchmarks/proof.py preference --data FOLDER --tune           # what the defaults were chosen by

Each call prints the `langchain-darwin compare` command that it runs, which takes hours on two CPU cores; killed, it
goes on where it was. The report is written to build/proof/NAME-BEAMS; with --tune, which takes other prompts than the
proof, to build/proof/NAME-tune; with --skip 60 to build/proof/NAME-BEAMS-from-61. Calls that share a folder share its
runs, and its report is of the last.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import proof_rewards

TUNED_FROM, TUNED_ON = 120, 24  # lines to skip, and prompts; the proof takes them from the first on
POOL = 20  # samples; on half of the prompts the paper's three cycles of 5 beams, with their rewriting, pay for more
TEXTS = 60  # of all searches at once: the policy decodes 64, and rewards remember as many
TASKS = {
    "verifiers": ("ifeval", "ifeval-partial", "ifeval"),
    "rules": ("ifeval", "benchmarks/proof_rewards.py:rules", "ifeval"),
    "preference": (
        "alpaca_eval",
        "benchmarks/proof_rewards.py:guide",
        "benchmarks/proof_rewards.py:gold",
    ),
}


def searches(beams: int) -> list[str]:
    """The methods and the ablations, in the table's order.

    The base is a plain sample, Best-of-N the best of a random subset of them; every report has both. `Darwin()` itself
    is replacement only. With more than 5 beams the paper has one cycle: three would cost more than twice the pool.
    """
    keep = max(1, beams * 3 // 5)
    darwin = f"darwin:beams={beams}"
    paper = f"darwin-paper:beams={beams},keep={keep}"
    written = f"paper@{paper}" if beams <= 5 else f"paper, 1 cycle@{paper},cycles=1"
    return [
        f"Darwin()@{darwin}",
        f"majority vote@majority-vote:n={beams}",
        f"ARGS@args:top_k={beams}",
        written,
        f"requests appended@{darwin},mutation=append",
        f"mutation only@{darwin},mutation=append,replacement=none",
        f"requests appended, graft of text@{darwin},mutation=append,carry=text",
        f"top-k@{darwin},replacement=top_k,keep={keep}",
        f"period 8@{darwin},period=8",
        f"period 40@{darwin},period=40",
        f"from token 48 on@{darwin},first_period=48",
    ]


def candidates() -> list[str]:
    """What was tried for the defaults: requests appended or not, copies of the best or resampling, often or less so."""
    settings = {"the best only": "replacement=top_k,keep=1", "resampling": "replacement=resample"}
    return [
        f"{mutation}, {name}, period {period}@darwin:beams=5,mutation={mutation},period={period},{fields}"
        for mutation in ("none", "append")
        for name, fields in settings.items()
        for period in (8, 16)
    ]


def command(options: argparse.Namespace) -> list[str]:
    name, reward, gold = TASKS[options.task]
    out, chosen = f"{options.task}-{options.beams}", searches(options.beams)
    skip, limit = options.skip, options.limit
    if options.tune:
        out, chosen = f"{options.task}-tune", candidates()
        skip, limit = TUNED_FROM, min(limit, TUNED_ON)
    elif skip:
        out += f"-from-{skip + 1}"
    if options.only:
        chosen = [chosen[labels(chosen).index(label)] for label in options.only]
    prompts = later(options.data / f"{name}_dev.jsonl", skip)
    parts = ["langchain-darwin", "compare", "--prompts", f"{name}={prompts}"]
    for search in chosen:
        parts += ["--searches", search]
    parts += ["--reward", reward, "--gold", gold, "--limit", str(limit), "--seeds", options.seeds]
    parts += ["--max-tokens", str(options.tokens), "--pool", str(POOL), "--dtype", "auto"]
    return [*parts, "--at-once", str(max(1, TEXTS // options.beams)), "--out", f"build/proof/{out}"]


def labels(specs: list[str]) -> list[str]:
    """The names of searches in the table."""
    return [spec.split("@")[0] for spec in specs]


def later(path: Path, skip: int) -> Path:
    """A file of the prompts after the first `skip`."""
    if not skip:
        return path
    rest = Path("build/proof") / f"{path.stem}-from-{skip + 1}.jsonl"
    rest.parent.mkdir(parents=True, exist_ok=True)
    rest.write_text("\n".join(path.read_text(encoding="utf-8").split("\n")[skip:]), encoding="utf-8")
    return rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--limit", type=int, default=60, help="prompts (default: 60)")
    parser.add_argument("--skip", type=int, default=0, help="prompts to leave out before them (default: 0)")
    parser.add_argument("--only", action="append", help="a search of the table; as often as you like (default: all)")
    parser.add_argument("--seeds", default="0", help="with commas; each prompt is run once with each (default: 0)")
    parser.add_argument(
        "--tune", action="store_true", help="compare candidates for the defaults, on prompts of their own"
    )
    parser.add_argument("--tokens", type=int, default=192, help="longest answer (default: 192)")
    options = parser.parse_args()
    if complaint := proof_rewards.missing(options.data):
        parser.error(complaint)
    if options.tune and options.skip:
        parser.error("--tune takes prompts of its own; leave out --skip")
    known = labels(candidates() if options.tune else searches(options.beams))
    if unknown := [label for label in options.only or () if label not in known]:
        parser.error(f"--only {unknown[0]!r} is not a row of this table; its rows are {', '.join(known)}")
    if options.task == "preference":
        proof_rewards.fit(options.data / "hh_harmless_dev.jsonl")
    parts = command(options)
    print(shlex.join(parts), flush=True)
    parts[0] = str(Path(sys.executable).with_name("langchain-darwin"))
    raise SystemExit(subprocess.run(parts, check=False).returncode)


if __name__ == "__main__":
    main()
