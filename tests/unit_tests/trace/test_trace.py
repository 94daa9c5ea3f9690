import asyncio
import json
import math
import threading
from dataclasses import dataclass, replace

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards import ScoreWithParts
from langchain_darwin.search.base import (
    Archived,
    Beam,
    CycleStarted,
    Finished,
    Grown,
    GrowthStarted,
    Mutated,
    Outcome,
    Remark,
    Replaced,
    Scored,
    Started,
    Task,
    TokensDrawn,
)
from langchain_darwin.testing import WordCodec
from langchain_darwin.trace import Memory, TraceWriter, from_record, read_trace, to_record, traces

CODEC = WordCodec()


@dataclass(frozen=True)
class Plain:
    n: int = 2
    api_key: str = "sk-very-secret"
    server: str = "http://user:pass@host/v1"

    def run(self, task):
        yield from ()


def make_task(text="Why?"):
    return Task([{"role": "user", "content": text}], CODEC, seed=3)


def ids(text):
    return CODEC.encode_text(text)


def sample_events(task):
    """A search with a rewritten instruction, a copy over another beam and an end."""
    aside = replace(task.aside("Rewrite: Why?"), tokens=ids("How come?"), finish="stop")
    one, two = task.root(), task.root("How come?")
    one_2 = replace(one, tokens=ids("Because it"), logprob=-1.25)
    two_2 = replace(two, tokens=ids("Nobody knows"), logprob=-2.5)
    judged = (replace(one_2, reward=0.5), replace(two_2, reward=-0.5))
    copy = task.graft(judged[0], judged[1])
    last = (
        replace(judged[0], tokens=ids("Because it is."), finish="stop", reward=None),
        replace(copy, tokens=ids("Because it was \x1b[31mred\u202e."), finish="length", reward=None),
    )
    ends = tuple(replace(beam, reward=reward) for beam, reward in zip(last, (1.0, 2.0), strict=True))
    return [
        Started({"search": "Plain", "n": 2}, 3, "Why?", len(task.prompt)),
        CycleStarted(0, "Why?", ("Why?",)),
        Grown((aside,), 5, 2, 0, 0.1),
        Mutated(0, ("Why?", "How come?"), (None, "too short")),
        Grown((one_2, two_2), 10, 4, 0, 0.25),
        Scored(judged, 2, 0.01),
        Replaced(two.id, one.id, copy.id, 0.5),
        Grown(last, 0, 5, 20, 0.3),
        Scored(ends, 2, 0.01),
        Archived(0, ("How come?",), (2.0, None)),
        Remark("done"),
        Finished(Outcome((ends[1], ends[0]), seed=ends[0]), None),
    ]


def write(path, events, task=None, **facts):
    task = task or make_task()
    writer = TraceWriter(path, task, Plain(), model="m", reward="r", **facts)
    for event in events:
        writer.write(event)
    return writer


def test_every_kind_of_event_comes_back_as_it_was():
    task = make_task()
    events = [*sample_events(task), TokensDrawn(1, (7, 8)), GrowthStarted((task.root(),), last_roots=True)]
    writing, reading = Memory(), Memory()
    records = json.loads(json.dumps([to_record(event, writing, task.text) for event in events]))
    assert [from_record(record, reading) for record in records] == events
    assert reading == writing


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e-300, 0.1 + 0.2])
def test_any_float_comes_back_exactly_and_is_strict_json(value):
    event = Scored((Beam(0, "", (1,), reward=value, logprob=value),), 1, 0.0)
    text = json.dumps(to_record(event, Memory()), allow_nan=False)
    assert from_record(json.loads(text), Memory()) == event


def test_a_beam_may_shrink_or_change_its_prompt():
    beams = [Beam(0, "a", (1, 2), (5, 6, 7)), Beam(0, "b", (1, 3), (5, 8)), Beam(0, "a", (1, 2))]
    events = [Grown((beam,), 0, 0, 0, 0.0) for beam in beams]
    writing, reading = Memory(), Memory()
    assert [from_record(to_record(event, writing), reading) for event in events] == events


def test_a_file_reads_back_whole(tmp_path):
    task = make_task()
    events = sample_events(task)
    writer = write(tmp_path / "new" / "folder" / "t.jsonl", events, task, max_seconds=9)
    (trace,) = read_trace(tmp_path / "new" / "folder" / "t.jsonl")
    assert (trace.run, trace.events, trace.notes, trace.error) == (writer.run, events, [], None)
    assert trace.outcome == events[-1].outcome
    assert [trace.text(beam) for beam in trace.outcome.beams] == [task.text(b) for b in events[-1].outcome.beams]
    assert trace.header["conversation"] == [{"role": "user", "content": "Why?"}]
    assert (trace.header["seed"], trace.header["max_seconds"], trace.header["model"]) == (3, 9, "m")
    assert traces(writer.records)[0].events == events


def test_the_tree_can_be_redrawn():
    (trace,) = traces(write(None, sample_events(make_task())).records)
    one, two, copy = list(trace.beams.values())[1:]
    assert trace.roots == [one, two]
    assert (trace.children(one), trace.children(two), trace.lineage(copy)) == ([copy], [], [one, copy])
    assert [(r.number, r.cycle, [b.reward for b in r.beams], len(r.replaced)) for r in trace.rounds] == [
        (1, 0, [0.5, -0.5], 1),
        (2, 0, [1.0, 2.0], 0),
    ]
    assert trace.replacements[copy.id].receiver == two.id
    assert trace.cost == {"prefilled": 15, "decoded": 11, "reused": 20, "judged": 4}


def test_a_trace_grows_linearly_with_the_text():
    def size(rounds):
        beams = [Beam(i, "x", tuple(range(500))) for i in range(5)]
        memory, total = Memory(), 0
        for _ in range(rounds):
            beams = [replace(beam, tokens=beam.tokens + tuple(range(40))) for beam in beams]
            record = to_record(Grown(tuple(beams), 0, 0, 0, 0.0), memory, lambda beam: "word " * len(beam.tokens))
            total += len(json.dumps(record))
        return total

    assert size(40) - size(20) == pytest.approx(size(20) - size(0), rel=0.2)


def test_nothing_in_a_file_can_drive_a_terminal(tmp_path):
    write(tmp_path / "t.jsonl", sample_events(make_task()))
    data = (tmp_path / "t.jsonl").read_text(encoding="utf-8")
    assert "\x1b" not in data
    assert "\u202e" not in data
    assert "\\u001b[31mred" in data


def test_text_in_any_script_stays_readable_and_lone_surrogates_do_no_harm(tmp_path):
    task = make_task("Warum? なぜ?\ud800")
    write(tmp_path / "t.jsonl", [Remark("naïve 🧬")], task)
    assert "なぜ" in (tmp_path / "t.jsonl").read_text(encoding="utf-8")
    (trace,) = read_trace(tmp_path / "t.jsonl")
    assert trace.header["conversation"][0]["content"] == "Warum? なぜ?\ud800"


def test_secrets_are_blotted_out(tmp_path):
    writer = write(
        tmp_path / "t.jsonl",
        [Started({"api_key": "sk-very-secret"}, 0, "?", 1)],
        nested=[{"hf_token": "abc"}],
    )
    writer.fail(RuntimeError("GET http://user:pass@host/v1 refused"))
    data = (tmp_path / "t.jsonl").read_text()
    assert not any(secret in data for secret in ("sk-very-secret", "user:pass", "abc"))
    assert "http://***@host/v1" in data
    assert '"max_tokens":512' in data


@pytest.mark.parametrize("cut", [1, 40])
def test_a_killed_process_loses_its_last_line_only(tmp_path, cut):
    path = tmp_path / "t.jsonl"
    events = sample_events(make_task())
    write(path, events)
    path.write_bytes(path.read_bytes()[:-cut])
    (trace,) = read_trace(path)
    if cut == 1:  # only the line end is missing
        assert (trace.events, trace.notes) == (events, [])
        return
    assert (trace.events, trace.outcome) == (events[:-1], None)
    assert trace.notes == [
        "the record ends before the search did",
        "line 13 of the file is broken (was the process killed?) and was left out",
    ]


def test_a_run_appended_after_a_broken_line_is_whole(tmp_path):
    path = tmp_path / "t.jsonl"
    write(path, sample_events(make_task()))
    path.write_bytes(path.read_bytes()[:-40])
    write(path, sample_events(make_task()))
    killed, whole = read_trace(path)
    assert killed.outcome is None
    assert killed.notes
    assert whole.outcome is not None
    assert whole.notes == []


def test_what_follows_a_missing_record_is_left_out(tmp_path):
    path = tmp_path / "t.jsonl"
    events = sample_events(make_task())
    write(path, events)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    (trace,) = read_trace(path)
    assert trace.events == events[:4]
    assert trace.notes[0] == "record 5 is missing; what follows it was left out"


def test_an_unknown_kind_of_event_ends_the_reading():
    records = write(None, sample_events(make_task())).records
    records[3]["type"] = "Dreamt"
    (trace,) = traces(records)
    assert len(trace.events) == 2
    assert trace.notes[0] == "record 3 is of an unknown kind, 'Dreamt'; it ends the reading"


def test_a_run_without_its_header_is_told_of():
    lost, whole = (write(None, sample_events(make_task())) for _ in range(2))
    (trace,) = traces(lost.records[1:] + whole.records)
    assert trace.notes == [f"other runs have lost their first record and were left out: {lost.run}"]
    with pytest.raises(ConfigurationError, match=f"run {lost.run} has lost its first record"):
        traces(lost.records[1:])


def test_the_error_that_ended_a_run_is_told():
    writer = write(None, sample_events(make_task())[:3])
    writer.fail(ValueError("reward 'r' returned nan"))
    (trace,) = traces(writer.records)
    assert (trace.error, trace.notes) == ("ValueError: reward 'r' returned nan", [])


def test_concurrent_runs_share_a_file(tmp_path):
    path = tmp_path / "t.jsonl"
    runs = [sample_events(make_task()) for _ in range(8)]
    threads = [threading.Thread(target=write, args=(path, events)) for events in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_trace(path)
    assert len({trace.run for trace in found}) == 8
    assert all(trace.events == runs[0] and not trace.notes for trace in found)


def test_writing_from_an_event_loop(tmp_path):
    events = sample_events(make_task())
    writer = TraceWriter(tmp_path / "t.jsonl", make_task(), Plain(), model="m", reward="r")

    async def run():
        for event in events:
            await writer.awrite(event)

    asyncio.run(run())
    assert read_trace(tmp_path / "t.jsonl")[0].events == events


def test_what_only_streams_watch_is_not_written():
    writer = write(None, [TokensDrawn(1, (7, 8)), GrowthStarted((), last_roots=False)])
    assert [record["type"] for record in writer.records] == ["Header"]


def test_a_file_that_is_no_trace_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(ConfigurationError, match=r"notes.txt is not a trace: line 1 .* pass a file that `trace=`"):
        read_trace(tmp_path / "notes.txt")


def test_an_empty_file_holds_no_runs(tmp_path):
    (tmp_path / "t.jsonl").touch()
    assert read_trace(tmp_path / "t.jsonl") == []


def test_a_newer_format_is_refused():
    records = write(None, []).records
    records[0]["format"] = 99
    with pytest.raises(ConfigurationError, match="trace format 99; this version reads up to 1: upgrade"):
        traces(records)


def test_the_parts_of_a_reward_come_back():
    beam = replace(make_task().root(), tokens=ids("Because"), finish="stop")
    judged = Scored((beam.scored(ScoreWithParts(1.5, {"tone": 1.0, "broken": math.nan})),), 1, 0.1)

    record = json.loads(json.dumps(to_record(judged, Memory()), allow_nan=False))
    back = from_record(record, Memory())

    assert record["beams"][0]["parts"] == {"tone": 1.0, "broken": "nan"}
    assert back.beams[0].reward == 1.5
    assert str(back.beams[0].parts) == "{'tone': 1.0, 'broken': nan}"
