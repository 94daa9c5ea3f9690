"""Times the searches against the published loop and against one plain `generate`, on the same weights.

    python benchmarks/speed.py                                   # 5 beams, 200 and 600 tokens, three runs of each
    python benchmarks/speed.py --lengths 200 600 1200 --beams 5 15 --prompts 1 4 16 --reward latency model

Every run is a process of its own, so that its peak memory is its own; the methods take turns, so that a busy moment
does not fall on one of them. Every run is kept in build/speed.jsonl: killed, or asked for more, the benchmark goes on
where it was; delete the file after a change of the code. Writes build/speed.md and build/speed.svg (with matplotlib).
Lengths are forced (`min_tokens`), sampling is the paper's: temperature 0.7, top-k 40.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

QUESTIONS = (
    "Why is the sky blue?",
    "Explain how a bicycle stays upright.",
    "Write a short story about a lighthouse keeper.",
    "What should I pack for a week in the mountains?",
    "How do vaccines work?",
    "Describe the water cycle to a child.",
    "Give me tips for learning the piano.",
    "What makes bread rise?",
    "Tell me about the history of paper.",
    "How can I sleep better?",
    "Compare cats and dogs as pets.",
    "What is inflation?",
    "Plan a small vegetable garden.",
    "How does a refrigerator cool?",
    "Write a letter to a friend who moved away.",
    "Why do we have seasons?",
)
METHODS = {
    "darwin": "Darwin()",
    "rewriting": "Darwin(mutation='each', period=40), whose instructions the model rewrites first",
    "best_of_n": "BestOfN",
    "generate": "one uninterrupted generate of the same beams",
    "published": "the published loop, one cycle over given instructions",
}
MORE = {
    "rewriting_3": "the same in three cycles",
    "best_of_n_3": "three runs of BestOfN, one after another",
    "darwin_serial": "Darwin(), the prompts one after another",
}
PERIOD, KEEP = 40, 3


def free(texts: Sequence[str]) -> list[float]:
    """Costs nothing: the number of different words."""
    return [float(len(set(text.split()))) for text in texts]


def slow(texts: Sequence[str]) -> list[float]:
    """A reward behind a network: 50 ms a batch."""
    time.sleep(0.05)
    return free(texts)


def chat_reward(kind: str) -> Any:
    if kind == "model":
        return reward_model()
    judge = slow if kind == "latency" else free
    return lambda _messages, responses: judge([response.text for response in responses])


def reward_model() -> Any:
    """The embedded weights with a classification head, made once: it costs what a trained one of its size costs."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from langchain_darwin.inference.embedded_model import embedded_model_path
    from langchain_darwin.rewards.models.reward_model import RewardModel

    folder = Path("build/reward-model")
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        source = embedded_model_path()
        config = AutoConfig.from_pretrained(source, num_labels=1)
        model = AutoModelForSequenceClassification.from_pretrained(source, config=config, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return RewardModel(str(folder))


def search(method: str, beams: int) -> Any:
    from langchain_darwin.search.best_of_n import BestOfN
    from langchain_darwin.search.darwin import Darwin

    if method.startswith("best_of_n"):
        return BestOfN(n=beams)
    if method.startswith("rewriting"):
        return Darwin(beams=beams, period=PERIOD, mutation="each", cycles=3 if method == "rewriting_3" else 1)
    return Darwin(beams=beams)


def ask(model: Any, method: str, questions: list[str], seed: int) -> list[Any]:
    if method == "darwin_serial":
        return [model.invoke(question, seed=seed) for question in questions]
    if method == "best_of_n_3":
        return [answer for run in range(3) for answer in model.batch(questions, seed=seed + 100 * run)]
    return model.batch(questions, seed=seed)


def run_chat(case: dict[str, Any]) -> dict[str, Any]:
    from langchain_darwin.chat_models import ChatDarwin

    reward = chat_reward(case["reward"])
    model = ChatDarwin(
        reward=reward,
        search=search(case["method"], case["beams"]),
        max_tokens=case["tokens"],
        min_tokens=case["tokens"],
        dtype=case["dtype"],
    )
    model.invoke("Hello", max_tokens=8, min_tokens=8, search=search("best_of_n", 1))  # loads the weights
    questions = QUESTIONS[: case["prompts"]]
    started = time.perf_counter()
    answers = ask(model, case["method"], list(questions), case["seed"])
    seconds = time.perf_counter() - started
    facts = [answer.response_metadata["darwin"] for answer in answers]
    total = {kind: sum(fact["tokens"][kind] for fact in facts) for kind in ("prefilled", "decoded", "reused")}
    judged = getattr(reward, "tokens_processed", None)
    return {"seconds": seconds, **total, "reward_tokens": judged, "first_token": first_token(model, case)}


def first_token(model: Any, case: dict[str, Any]) -> float | None:
    """Seconds until a stream hands out its first text; measured once, on the shortest length."""
    if case["tokens"] > 200 or case["prompts"] > 1:
        return None
    started = time.perf_counter()
    for chunk in model.stream("What is the tallest mountain?", seed=case["seed"]):
        if chunk.text:
            break
    return time.perf_counter() - started


def plain_model(dtype: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from langchain_darwin.inference.embedded_model import embedded_model_path

    folder = embedded_model_path()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def templated(tokenizer: Any, question: str) -> str:
    turns = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def run_plain(case: dict[str, Any]) -> dict[str, Any]:
    from published_loop import PublishedLoop

    model, tokenizer = plain_model(case["dtype"])
    judge: Callable[[Sequence[str]], list[float]] = slow if case["reward"] == "latency" else free
    if case["reward"] == "model":
        judge = full_scores()
    period = case["tokens"] if case["method"] == "generate" else PERIOD
    loop = PublishedLoop(model, tokenizer, judge, period, KEEP)
    loop.run([templated(tokenizer, "Hello")], 8, 0)
    loop.prefilled = loop.decoded = 0
    judged_before = getattr(judge, "tokens", 0)
    started = time.perf_counter()
    for question in QUESTIONS[: case["prompts"]]:
        loop.run([templated(tokenizer, question)] * case["beams"], case["tokens"], case["seed"])
    seconds = time.perf_counter() - started
    judged = getattr(judge, "tokens", None)
    return {
        "seconds": seconds,
        "prefilled": loop.prefilled,
        "decoded": loop.decoded,
        "reused": 0,
        "reward_tokens": None if judged is None else judged - judged_before,
        "first_token": None,
    }


def full_scores() -> Callable[[Sequence[str]], list[float]]:
    """The reward model over every text from its first word, as the published loop asks it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    reward_model()
    tokenizer = AutoTokenizer.from_pretrained("build/reward-model")
    model = AutoModelForSequenceClassification.from_pretrained("build/reward-model", dtype=torch.bfloat16).eval()
    model.config.pad_token_id = tokenizer.pad_token_id

    class Scores:
        tokens = 0

        def __call__(self, texts: Sequence[str]) -> list[float]:
            batch = tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False)
            Scores.tokens += int(batch["attention_mask"].sum())
            with torch.inference_mode():
                return [float(score) for score in model(**batch).logits[:, 0]]

    return Scores()


def child(case: dict[str, Any]) -> None:
    result = (run_plain if case["method"] in ("generate", "published") else run_chat)(case)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("RESULT " + json.dumps({**result, "memory_mib": round(memory)}))


def measure(case: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{case} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


class Journal:
    """The runs that were taken, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.runs = [json.loads(line) for line in lines]

    def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """The result of a case: the one on file, or else a new one."""
        for run in self.runs:
            if run["case"] == case:
                return run["result"]
        self.runs.append({"case": case, "load": os.getloadavg(), "result": measure(case)})
        with self.path.open("a") as file:
            file.write(json.dumps(self.runs[-1]) + "\n")
        return self.runs[-1]["result"]


def summary(case: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    tokens = case["beams"] * case["tokens"] * case["prompts"]
    row = {**case, **runs[-1], "seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    firsts = [run["first_token"] for run in runs if run["first_token"] is not None]
    return {**row, "tokens_per_second": tokens / row["seconds"], "first_token": min(firsts, default=None)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["beams", "tokens", "prompts", "reward", "method", "seconds", "min-max", "tok/s", "prefilled", "decoded"]
    heads += ["reward tokens", "first text s", "MiB"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = [row["beams"], row["tokens"], row["prompts"], row["reward"], row["method"], f"{row['seconds']:.1f}"]
        cells += [f"{row['min']:.1f}-{row['max']:.1f}", f"{row['tokens_per_second']:.1f}", row["prefilled"]]
        first = "" if row["first_token"] is None else f"{row['first_token']:.1f}"
        cells += [row["decoded"], row["reward_tokens"] or "", first, row["memory_mib"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("no plot: pip install matplotlib")
        return
    shown = [row for row in rows if row["prompts"] == 1 and row["reward"] == "free"]
    if not shown:
        return
    beams = sorted({row["beams"] for row in shown})
    figure, axes = plt.subplots(1, len(beams), figsize=(5 * len(beams), 4), squeeze=False)
    for axis, number in zip(axes[0], beams, strict=True):
        for method in dict.fromkeys(row["method"] for row in shown):
            points = sorted((r["tokens"], r["seconds"]) for r in shown if (r["beams"], r["method"]) == (number, method))
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=method)
        axis.set(title=f"{number} beams", xlabel="tokens of each beam", ylabel="seconds", ylim=(0, None))
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def machine() -> dict[str, Any]:
    import torch
    import transformers

    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beams", type=int, nargs="+", default=[5])
    parser.add_argument("--lengths", type=int, nargs="+", default=[200, 600])
    parser.add_argument("--prompts", type=int, nargs="+", default=[1])
    parser.add_argument("--reward", nargs="+", default=["free"], choices=["free", "latency", "model"])
    about = "; ".join(f"{name}: {what}" for name, what in (METHODS | MORE).items())
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=[*METHODS, *MORE], help=about)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--out", type=Path, default=Path("build"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    options.out.mkdir(exist_ok=True, parents=True)
    rows = []
    journal = Journal(options.out / "speed.jsonl")
    for case in cases(options):
        runs: dict[str, list[dict[str, Any]]] = {method: [] for method in options.methods}
        for repeat in range(options.repeats):
            for method in options.methods:
                runs[method].append(journal.run({**case, "method": method, "seed": repeat}))
        rows += [summary({**case, "method": method}, runs[method]) for method in options.methods]
        print(table(rows[-len(options.methods) :]), flush=True)
    (options.out / "speed.md").write_text(f"{json.dumps(machine())}\n\n{table(rows)}\n")
    plot(rows, options.out / "speed.svg")


def cases(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        {"beams": beams, "tokens": tokens, "prompts": prompts, "reward": reward, "dtype": options.dtype}
        for beams in options.beams
        for tokens in options.lengths
        for prompts in options.prompts
        for reward in options.reward
    ]


if __name__ == "__main__":
    main()
