"""A search fed by hand: no runner, no threads, no reward object."""

from __future__ import annotations

from dataclasses import replace

from langchain_darwin.policies.base import Growth, Job, Sampling
from langchain_darwin.search.base import Extend, Grow, Propose, Score, Task
from langchain_darwin.testing import ScriptedPolicy, WordCodec
from langchain_darwin.testing.contracts.runs import INSTRUCTION, rewriter


def task(instruction=INSTRUCTION, *, max_tokens=60, seed=1, conversation=None):
    turns = [{"role": "user", "content": instruction}] if conversation is None else conversation
    return Task(turns, WordCodec(), Sampling(max_tokens=max_tokens), seed=seed)


def draw(policy=None):
    """Growth by the scripted policy."""
    policy = policy or ScriptedPolicy(rewriter)

    def grow(beam, tokens, sampling):
        job = Job(beam.prompt + beam.tokens, len(beam.prompt), sampling, beam.key, tokens)
        return policy.submit([job]).result()[0]

    return grow


def ending_at(lengths, default=12):
    """Growth to a length set by the beam's id; every token is the word that is the beam's id."""

    def grow(beam, tokens, sampling):
        if beam.aside:
            return draw()(beam, tokens, sampling)
        room = lengths.get(beam.id, default) - len(beam.tokens)
        new = max(0, room if tokens is None else min(tokens, room))
        return Growth(WordCodec().encode_text(f" {beam.id}") * new, 0.0, "stop" if new == room else None)

    return grow


def drive(search, task, score, grow=None, propose=None):
    """All steps of the search and what it returned; `score` and `propose` are functions of a beam."""
    grow = grow or draw()
    steps, reply, run = [], None, search.run(task)
    while True:
        try:
            step = run.send(reply)
        except StopIteration as end:
            return steps, end.value
        steps.append(step)
        reply = None
        if isinstance(step, Grow):
            reply = [_grown(beam, step, task, grow) for beam in step.beams]
        elif isinstance(step, Score):
            reply = [replace(beam, reward=score(beam)) for beam in step.beams]
        elif isinstance(step, Propose):
            reply = [propose(beam) for beam in step.beams]
        elif isinstance(step, Extend):
            reply = list(step.beams)


def _grown(beam, step, task, grow):
    return beam.grown(grow(beam, step.tokens, step.sampling or task.sampling)) if beam.live else beam


def of(kind, steps):
    return [step for step in steps if isinstance(step, kind)]
