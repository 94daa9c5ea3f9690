"""What DARWIN gains over Best-of-N at equal policy tokens: the comparisons of docs/results.md, one a call.

    python benchmarks/proof.py verifiers --data FOLDER       # IFEval, guided by the share of instructions followed
    python benchmarks/proof.py rules --data FOLDER           # IFEval, guided by rules that know nothing of it
    python benchmarks/proof.py preference --data FOLDER      # AlpacaEval, guided by a head fitted to preferences
    python benchmarks/proof.py verifiers --data FOLDER --beams 15 --limit 30
    python benchmarks/proof.py preference --data FOLDER --tune           # what the defaults were chosen by

FOLDER holds ifeval_dev.jsonl, alpaca_eval_dev.jsonl and hh_harmless_dev.jsonl. Each call prints the `langchain-darwin
compare` command that it runs, which takes hours on two CPU cores; killed, it goes on where it was. The report is
written to build/proof/NAME-BEAMS; with --tune, which takes other prompts than the proof, to build/proof/NAME-tune.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import proof_rewards

TUNED_ON = slice(120, 144)  # lines; the proof takes them from the first on
POOL = 20  # samples; more than the paper's three cycles of 5 beams and their rewriting pay for
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
    """The methods and, at up to 5 beams, the ablations, in the table's order; more beams cost too much for all.

    The base is a plain sample, Best-of-N the best of a random subset of them; every report has both. `Darwin()` itself
    is replacement only.
    """
    keep = max(1, beams * 3 // 5)
    darwin = f"darwin:beams={beams}"
    paper = f"darwin-paper:beams={beams},keep={keep}"
    few = beams <= 5
    methods = [
        f"Darwin()@{darwin}",
        f"majority vote@majority-vote:n={beams}",
        f"ARGS@args:top_k={beams}",
        f"paper@{paper}" if few else f"paper, 1 cycle@{paper},cycles=1",
        f"requests appended@{darwin},mutation=append",
        f"mutation only@{darwin},mutation=append,replacement=none",
    ]
    ablations = [
        f"requests appended, graft of text@{darwin},mutation=append,carry=text",
        f"top-k@{darwin},replacement=top_k,keep={keep}",
        f"period 8@{darwin},period=8",
        f"period 40@{darwin},period=40",
        f"from token 48 on@{darwin},first_period=48",
    ]
    return methods + ablations if few else methods


def candidates() -> list[str]:
    """What was tried for the defaults: the paper's replacement, its greediest form, and resampling, ever more often."""
    settings = {
        "top-k of 3": "replacement=top_k,keep=3",
        "best only": "replacement=top_k,keep=1",
        "resampling": "replacement=resample",
        "resampling at temperature 0.5": "replacement=resample,resample_temperature=0.5",
    }
    return [
        f"{name}, {mutation}, period {period}@darwin:mutation={mutation},period={period},{fields}"
        for mutation in ("none", "append")
        for period in (8, 16, 40)
        for name, fields in settings.items()
    ]


def command(options: argparse.Namespace) -> list[str]:
    name, reward, gold = TASKS[options.task]
    prompts = options.data / f"{name}_dev.jsonl"
    out, chosen = f"{options.task}-{options.beams}", searches(options.beams)
    if options.tune:
        prompts, out, chosen = tuning_prompts(prompts), f"{options.task}-tune", candidates()
    parts = ["langchain-darwin", "compare", "--prompts", f"{name}={prompts}"]
    for search in chosen:
        parts += ["--searches", search]
    parts += ["--reward", reward, "--gold", gold, "--limit", str(options.limit), "--seeds", options.seeds]
    parts += ["--max-tokens", str(options.tokens), "--pool", str(POOL), "--dtype", "auto"]
    return [*parts, "--at-once", "12", "--out", f"build/proof/{out}"]


def tuning_prompts(path: Path) -> Path:
    """A file of the prompts that are tuned on."""
    chosen = Path("build/proof") / f"tuned-on-{path.name}"
    chosen.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").split("\n")[TUNED_ON]
    chosen.write_text("\n".join(lines), encoding="utf-8")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--limit", type=int, default=60, help="prompts (default: 60)")
    parser.add_argument("--seeds", default="0", help="with commas; each prompt is run once with each (default: 0)")
    parser.add_argument(
        "--tune", action="store_true", help="compare candidates for the defaults, on prompts of their own"
    )
    parser.add_argument("--tokens", type=int, default=192, help="longest answer (default: 192)")
    options = parser.parse_args()
    if complaint := proof_rewards.missing(options.data):
        parser.error(complaint)
    if options.task == "preference":
        proof_rewards.fit(options.data / "hh_harmless_dev.jsonl")
    parts = command(options)
    print(shlex.join(parts), flush=True)
    parts[0] = str(Path(sys.executable).with_name("langchain-darwin"))
    raise SystemExit(subprocess.run(parts, check=False).returncode)


if __name__ == "__main__":
    main()
