"""A soak: mixed requests from threads and an event loop on the embedded model, and what is left when they have ended.

    python benchmarks/soak.py                  # ten minutes
    python benchmarks/soak.py --minutes 0.3    # a trial

A request is a question and a way to ask it (soak_requests.py), both drawn from a fixed seed. Every outcome is counted.
An outcome that its question and its way do not allow is a failure and is printed.

The exit status is 1 after a failure, if rows, threads or descriptors differ in the end, or if memory grew by more than
a tenth and the budget of keys and values.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import random
import re
import sys
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from soak_requests import QUESTIONS, WAYS, ask, ask_async
from workload import variety

from langchain_darwin import ChatDarwin, SearchCancelledError, TransformersPolicy
from langchain_darwin.errors import ContextOverflowError, RewardError, SearchTimeoutError
from langchain_darwin.inference.memory.budget import free_bytes

GRACE = 900  # seconds in which warm-up and last requests must end; else every thread's stack is printed, status 1
PATIENCE = 10  # seconds in which what was left must be gone
SAME = ("live rows", "waiting", "threads", "open descriptors")
ENDS = {
    SearchCancelledError: "cancelled",
    asyncio.CancelledError: "cancelled",
    SearchTimeoutError: "timed out",
    RewardError: "RewardError",
    ContextOverflowError: "ContextOverflowError",
}
OUTCOMES = ("answered", "left early", *dict.fromkeys(ENDS.values()), "failed")

counts: Counter[tuple[str, str, str]] = Counter()  # by question, way and outcome; changed within `lock`
lock = threading.Lock()


# ---- requests


def drawn(seed, until):
    """Questions and ways, at random until a moment."""
    rng = random.Random(seed)
    while time.monotonic() < until:
        yield rng.choices([*QUESTIONS], QUESTIONS.values())[0], rng.choice([*WAYS]), rng


def each_once():
    """All questions, and all ways to ask a short one."""
    rng = random.Random(0)
    yield from ((make, "wait", rng) for make in QUESTIONS)
    yield from ((next(iter(QUESTIONS)), way, rng) for way in WAYS)


def in_thread(model, requests):
    for make, way, rng in requests:
        question = make(model, rng)
        with counted(question, make.__name__, way) as answers:
            answers.append(ask(question, way, rng))


async def in_loop(model, requests):
    for make, way, rng in requests:
        question = make(model, rng)
        with counted(question, make.__name__, f"{way}, async") as answers:
            answers.append(await ask_async(question, way, rng))


async def gathered(model, several):
    await asyncio.gather(*(in_loop(model, requests) for requests in several))


def run(model, of_threads, of_loop):
    """Have threads and one event loop make their requests; return when all have."""
    with ThreadPoolExecutor(len(of_threads) + 1) as pool:
        work = [pool.submit(in_thread, model, requests) for requests in of_threads]
        work.append(pool.submit(lambda: asyncio.run(gathered(model, of_loop))))
    for each in work:
        each.result()  # an error of this script


# ---- outcomes


@contextlib.contextmanager
def counted(question, name, way):
    """Count how a request ends, whose answer is appended to what is given."""
    answers: list = []
    try:
        yield answers
        outcome = outcome_of(question, answers[0])
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        known = [end for kind, end in ENDS.items() if isinstance(error, kind)]
        outcome = known[0] if known else "".join(traceback.format_exception(error))
    if outcome not in {question.outcome, WAYS[way.removesuffix(", async")]}:
        print(f"FAILED: {name}, {way}: {outcome}", file=sys.stderr, flush=True)
        outcome = "failed"
    with lock:
        counts[name, way, outcome] += 1


def outcome_of(question, answer):
    if answer is None:
        return "left early"
    end = answer.response_metadata["finish_reason"]
    if end == "timeout":
        return "timed out"
    wrong = f"a wrong answer, ended by {end}: {answer.text!r}, {answer.tool_calls}"
    return "answered" if question.check(answer) else wrong


# ---- what is left


def resources(policy):
    """What the process holds once nothing is decoded, or after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while (policy.live_rows or policy.waiting) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # threads that were told to end do so
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    native, resident, peak = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("Threads", "VmRSS", "VmHWM"))
    held = policy._loop._engine._rows.store.bytes  # noqa: SLF001
    return {
        "live rows": policy.live_rows,
        "waiting": policy.waiting,
        "threads": threading.active_count(),
        "threads of libraries included": native,
        "open descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident memory, MiB": resident // 1024,
        "without keys and values, MiB": resident // 1024 - held // 2**20,
        "peak of resident memory, MiB": peak // 1024,
    }


def print_table(head, rows):
    print("\n| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def print_counts(what, place):
    total: Counter[tuple[str, str]] = Counter()
    for key, count in counts.items():
        total[key[place], key[2]] += count
    names = sorted({key[place] for key in counts})
    print_table([what, *OUTCOMES], [[name, *(total[name, outcome] for outcome in OUTCOMES)] for name in names])


def complaints(before, after, budget):
    """What must not be."""
    changed = [f"{name}: {before[name]} before, {after[name]} after" for name in SAME if before[name] != after[name]]
    failed = sum(count for (_, _, outcome), count in counts.items() if outcome == "failed")
    now, allowed = after["resident memory, MiB"], 1.1 * before["resident memory, MiB"] + budget
    grown = [f"resident memory: {now} MiB, more than {allowed:.0f} MiB"] if now > allowed else []
    return [*changed, *grown, *([f"{failed} requests failed"] if failed else [])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=4, help="of the event loop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mib", type=int, default=768, help="budget of keys and values")
    options = parser.parse_args()
    faulthandler.dump_traceback_later(60 * options.minutes + GRACE, exit=True)
    share = min(1.0, options.mib * 2**20 / free_bytes(torch.device("cpu")))
    policy = TransformersPolicy(device="cpu", kv_memory=share)
    model = ChatDarwin(model=policy, reward=variety)
    run(model, [each_once()], [each_once()])
    before, began = resources(policy), time.monotonic()
    until = began + 60 * options.minutes
    seeds = range(1000 * options.seed, 1000 * options.seed + options.threads + options.tasks)
    requests = [drawn(seed, until) for seed in seeds]
    run(model, requests[: options.threads], requests[options.threads :])
    seconds, after = time.monotonic() - began, resources(policy)
    print(f"{sum(counts.values())} requests, those of the warm-up included; {seconds:.0f} s without it")
    print_table(["", "before", "after"], [[name, before[name], after[name]] for name in before])
    print_counts("question", 0)
    print_counts("way to ask", 1)
    found = complaints(before, after, options.mib)
    print("\n" + ("\n".join(found) or "Nothing unexpected."))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
