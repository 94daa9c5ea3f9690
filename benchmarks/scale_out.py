"""Times what the client adds to a vLLM server: to a request, and to the tokens of a search.

    make vllm-venv                                      # once
    python -m benchmarks.scale_out                      # starts a server of its own, some minutes in all
    python -m benchmarks.scale_out --url http://host:8000 --model name --tokenizer org/name

The first table is the client's time per request: a peer in another process answers every request at once with what
the server answered to one of them, so that nobody waits for a model. From the time of a request through `VLLMPolicy`
is taken that of the same bytes over a bare socket. The second table compares searches with plain requests of the same
tokens: one request for `n` completions of the same prompt, length and sampling. Lengths are forced; methods take
turns, and each run has a seed and a question of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import httpx

from benchmarks.speed import QUESTIONS
from langchain_darwin import BestOfN, ChatDarwin, Darwin, VLLMPolicy
from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.vllm.requests import draft_body, request_seed
from tests.faulty_peer import faulty_peer
from tests.vllm_server import NAME, serve

SAMPLING = Sampling(temperature=0.7, top_k=40, max_tokens=40, min_tokens=40)


@dataclass(frozen=True)
class Case:
    """A served model."""

    url: str
    model: str
    tokenizer: str | None

    def policy(self, url: str | None = None) -> VLLMPolicy:
        return VLLMPolicy(url or self.url, self.model, tokenizer=self.tokenizer)


# ---- one request


def requests_table(case: Case, count: int) -> list[str]:
    prompt, body = request(case)
    models = httpx.get(case.url + "/v1/models").raise_for_status().content
    completion = httpx.post(case.url + "/v1/completions", json=body, timeout=120).raise_for_status().content
    with instant_peer(models, completion) as url:
        policy = case.policy(url)
        policy.submit([job(prompt, -1)]).result()  # connects, reads the tokenizer
        busy = -time.process_time()
        single = [seconds(partial(answered, policy, job(prompt, key))) for key in range(count)]
        busy += time.process_time()
        jobs = [job(prompt, key) for key in range(count, 2 * count)]
        together = seconds(lambda: policy.submit(jobs).result())
        bare = statistics.median(bare_exchanges(url, json.dumps(body).encode(), count))
    rows = {
        "a request, one at a time, median": statistics.median(single),
        "the same bytes over a bare socket, median": bare,
        "added by the client": statistics.median(single) - bare,
        "of that, processor time of the client, mean": busy / count,
        f"a request among {count} at once, mean": together / count,
    }
    return table(("per request of 40 tokens", "ms"), [(name, f"{1000 * each:.2f}") for name, each in rows.items()])


def request(case: Case) -> tuple[tuple[int, ...], dict[str, object]]:
    """A prompt, and what the policy would send for its first 40 tokens."""
    codec = case.policy().codec
    prompt = codec.encode_chat([{"role": "user", "content": QUESTIONS[0]}])
    facts = {"tokens": 40, "written": 0, "seed": request_seed(0, 0), "interval": 40}
    return prompt, {"model": case.model, **draft_body(prompt, SAMPLING, end_ids=sorted(codec.end_ids), **facts)}


def job(prompt: tuple[int, ...], key: int) -> Job:
    return Job(prompt, len(prompt), SAMPLING, key)


def answered(policy: VLLMPolicy, one: Job) -> None:
    policy.submit([one]).result()


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


@contextlib.contextmanager
def instant_peer(models: bytes, completion: bytes) -> Iterator[str]:
    """Address of a peer in another process that gives ready answers."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=answer_at_once, args=(theirs, models, completion))
    process.start()
    yield ours.recv()
    ours.send(None)
    process.join()


def answer_at_once(told: Connection, models: bytes, completion: bytes) -> None:
    with faulty_peer(reply=lambda path, _body: models if path == "/v1/models" else completion) as peer:
        told.send(peer.base_url)
        told.recv()


def bare_exchanges(url: str, body: bytes, count: int) -> list[float]:
    place = urlsplit(url)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((place.hostname, place.port)) as connection, connection.makefile("rb") as answers:

        def exchange() -> None:
            connection.sendall(head + body)
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)

        return [seconds(exchange) for _ in range(count)]


# ---- one search


def searches_table(case: Case, beams: int, tokens: int, runs: int) -> list[str]:
    methods = {
        f"one request for {beams} completions": plain(case, beams, tokens),
        f"BestOfN({beams})": searched(case, BestOfN(beams), tokens),
        f"Darwin({beams} beams, period 40, no mutation)": searched(
            case, Darwin(beams=beams, period=40, keep=3, mutation="none"), tokens
        ),
    }
    took: dict[str, list[float]] = {name: [] for name in methods}
    for run in range(runs):
        for place, (name, ask) in enumerate(methods.items()):
            took[name].append(seconds(partial(ask, 3 * run + place)))
    medians = {name: statistics.median(each) for name, each in took.items()}
    base = next(iter(medians.values()))
    rows = [
        (name, f"{median:.2f}", f"{min(took[name]):.2f}-{max(took[name]):.2f}", f"{median / base:.2f}")
        for name, median in medians.items()
    ]
    return table((f"{beams} texts of {tokens} tokens", "s, median", "min-max", "ratio"), rows)


def question(seed: int) -> str:
    return f"{QUESTIONS[seed % len(QUESTIONS)]} ({seed})"


def plain(case: Case, beams: int, tokens: int) -> Callable[[int], None]:
    codec = case.policy().codec

    def ask(seed: int) -> None:
        prompt = codec.encode_chat([{"role": "user", "content": question(seed)}])
        length = {"max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True}
        drawn = {"temperature": 0.7, "top_k": 40, "n": beams, "seed": seed}
        body = {"model": case.model, "prompt": list(prompt), **length, **drawn}
        done = httpx.post(case.url + "/v1/completions", json=body, timeout=600).raise_for_status().json()
        assert done["usage"]["completion_tokens"] == beams * tokens

    return ask


def searched(case: Case, search: BestOfN | Darwin, tokens: int) -> Callable[[int], None]:
    model = ChatDarwin(
        model=case.policy(),
        reward=lambda _messages, responses: [float(len(set(response.text.split()))) for response in responses],
        search=search,
        max_tokens=tokens,
        min_tokens=tokens,
    )

    def ask(seed: int) -> None:
        facts = model.invoke(question(seed), seed=seed).response_metadata["darwin"]
        beams = search.n if isinstance(search, BestOfN) else search.beams
        assert facts["tokens"]["decoded"] == beams * tokens, facts

    return ask


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


@contextlib.contextmanager
def served(options: argparse.Namespace) -> Iterator[Case]:
    if options.url:
        yield Case(options.url, options.model, options.tokenizer)
        return
    with serve() as server:
        yield Case(server.base_url, NAME, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that runs already")
    parser.add_argument("--model", default=NAME, help="its served name")
    parser.add_argument("--tokenizer", help="hub id or folder")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with served(options) as case:
        lines = requests_table(case, options.requests)
        lines += searches_table(case, options.beams, options.tokens, options.runs)
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
