import json
import math
from dataclasses import dataclass, replace

import pytest

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.base import Finished, Grown, Outcome, Scored, Task
from langchain_darwin.testing import WORDS, ScriptedPolicy, WordCodec, keyword_reward
from langchain_darwin.trace import TraceWriter, read_trace
from langchain_darwin.trace.preference_pairs import json_line, pairs_of, preference_pairs
from langchain_darwin.trace.streaming import stream_traces

CODEC = WordCodec()
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


@dataclass(frozen=True)
class Plain:
    def run(self, task):
        yield from ()


def write(path, *answers, tools=(), end=True):
    """Record a search that found these answers: text, reward and optionally what else is special about the beam."""
    task = Task(QUESTION, CODEC, tools=tools)
    beams = [
        replace(task.root(), tokens=CODEC.encode_text(text), **({"finish": "stop"} | (special[0] if special else {})))
        for text, _, *special in answers
    ]
    judged = tuple(replace(beam, reward=reward) for beam, (_, reward, *_) in zip(beams, answers, strict=True))
    writer = TraceWriter(path, task, Plain(), model="m", reward="r")
    writer.write(Grown(tuple(beams), 0, 0, 0, 0.1))
    writer.write(Scored(judged, len(judged), 0.1))
    if end:
        writer.write(Finished(Outcome(judged[:1]), None))
    return path


def said(text):
    return [{"role": "assistant", "content": text}]


def scores(pairs):
    return [(pair["score_chosen"], pair["score_rejected"]) for pair in pairs]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.jsonl"


def test_the_best_answer_stands_against_the_worst(path):
    write(path, ("Who knows.", 0.5), ("Because it is.", 2.0), ("No idea.", -1.0))
    assert list(preference_pairs(path)) == [
        {
            "prompt": QUESTION,
            "chosen": said("Because it is."),
            "rejected": said("No idea."),
            "score_chosen": 2.0,
            "score_rejected": -1.0,
        }
    ]


def test_each_search_makes_its_own_pair(path):
    write(path, ("a", 1.0), ("b", 0.0))
    write(path, ("c", 3.0), ("d", 2.0))
    assert scores(preference_pairs(path)) == [(1.0, 0.0), (3.0, 2.0)]


def test_more_pairs_come_from_the_outside_in(path):
    write(path, *((word, reward) for reward, word in enumerate(WORDS[:5])))
    assert scores(preference_pairs(path, per_search=9)) == [(4.0, 0.0), (3.0, 1.0)]


def test_the_margin_is_the_least_difference(path):
    write(path, ("a", 1.0), ("b", 0.5))
    assert scores(preference_pairs(path, margin=0.5)) == [(1.0, 0.5)]
    assert scores(preference_pairs(path, margin=0.6)) == []


def test_equal_rewards_make_no_pair(path):
    write(path, ("a", 1.0), ("b", 1.0))
    assert list(preference_pairs(path)) == []


def test_only_finished_judged_answers_count_each_text_once(path):
    write(
        path,
        ("a", 1.0),
        ("a", 1.0),
        ("live", 9.0, {"finish": None}),
        ("cut by time", 9.0, {"finish": "timeout"}),
        ("unjudged", None),
        ("rewritten instruction", 9.0, {"aside": True}),
        ("", -9.0),
        ("at the limit", 5.0, {"finish": "length"}),
        ("b", 0.0),
    )
    assert scores(preference_pairs(path)) == [(1.0, 0.0)]
    assert scores(preference_pairs(path, cut_off=True)) == [(5.0, 0.0)]


def test_tools_go_with_the_pair(path):
    tools = [{"type": "function", "function": {"name": "f"}}]
    write(path, ("a", 1.0), ("b", 0.0), tools=tools)
    assert [pair["tools"] for pair in preference_pairs(path)] == [tools]


def test_the_answer_of_a_real_search_is_chosen(path):
    chat = ChatDarwin(model=ScriptedPolicy(), reward=keyword_reward(WORDS[0]), search=BestOfN(4), seed=1, trace=path)
    answer = chat.invoke("Tell me")
    (pair,) = preference_pairs(path)
    assert pair["prompt"] == [{"role": "user", "content": "Tell me"}]
    assert pair["chosen"] == said(answer.text)
    assert pair["rejected"] != pair["chosen"]
    assert pair["score_chosen"] > pair["score_rejected"]


def test_a_line_is_json_that_any_terminal_can_show(path):
    write(path, ("a \u202e\x1b[31m", 1.0), ("b", 0.0))
    (pair,) = preference_pairs(path)
    line = json_line(pair)
    assert line.isascii()
    assert line.isprintable() is False  # its end
    assert line[:-1].isprintable()
    assert json.loads(line) == pair


def test_runs_are_streamed_as_they_end_and_broken_lines_are_skipped(path):
    write(path, ("killed", 1.0), ("b", 0.0), end=False)
    with path.open("a") as file:
        file.write('{"run": \n')
    write(path, ("whole", 3.0), ("d", 2.0))
    lines = path.read_text().splitlines()
    mixed = [lines[0], lines[4], *lines[1:4], *lines[5:]]  # two runs at once
    path.write_text("\n".join(mixed) + "\n")
    assert [trace.text(trace.roots[0]) for trace in stream_traces(path)] == ["whole", "killed"]
    assert scores(preference_pairs(path)) == [(3.0, 2.0), (1.0, 0.0)]


def test_streamed_runs_are_those_that_are_read_at_once(path):
    write(path, ("a", 1.0), ("b", 0.0))
    write(path, ("c", 3.0), ("d", 2.0))
    assert list(stream_traces(path)) == read_trace(path)


def test_a_run_without_its_header_is_left_out(path):
    write(path, ("a", 1.0), ("b", 0.0))
    write(path, ("c", 3.0), ("d", 2.0))
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert scores(preference_pairs(path)) == [(3.0, 2.0)]


def test_a_trace_can_be_asked_alone(path):
    (trace,) = read_trace(write(path, ("a", 1.0), ("b", 0.0)))
    assert pairs_of(trace) == list(preference_pairs(path))


def test_a_missing_file_is_told_at_once(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"no\.jsonl: no such file; pass one that `trace=` or `ask --trace` wrote"
    ):
        preference_pairs(tmp_path / "no.jsonl")


def test_a_file_that_is_no_trace_is_told(path):
    path.write_text("hello\n")
    with pytest.raises(
        ConfigurationError, match="is not a trace: no line is a record; pass a file that `trace=` wrote"
    ):
        list(preference_pairs(path))


@pytest.mark.parametrize("wrong", [{"margin": -1}, {"margin": math.nan}, {"per_search": 0}])
def test_settings_out_of_range_are_refused(path, wrong):
    write(path, ("a", 1.0))
    with pytest.raises(ConfigurationError, match="must be at least"):
        preference_pairs(path, **wrong)
