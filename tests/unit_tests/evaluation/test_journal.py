import pytest
from filelock import FileLock

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.journal import open_journal
from langchain_darwin.evaluation.records import Answer, ComparisonPlan, Cost, Failure, Record, read_records

HEADER = {"settings": {"pool": 2, "reward": {"words": ["sea"]}}, "names": {"gold": "length"}}
ANSWER = Answer("The sea", 2, 1.0, 0.5, "stop")
RECORD = Record("1", "abc", "ours", {"search": "Darwin"}, 0, (ANSWER,), Cost(decoded=9, seconds=0.25))
POOL = Record("1", "pool", "pool", {"search": "BestOfN"}, 0, (ANSWER,), Cost(), 2, ((ANSWER, ANSWER),))
FAILURE = Failure("1", "abc", "ours", 0, "RewardError: no")
PLAN = ComparisonPlan({"ours": "abc"}, ("1", "2"), (0,))


def write(out, *lines):
    with open_journal(out, HEADER) as journal:
        for line in lines:
            journal.add(line)


def test_what_is_written_is_read(tmp_path):
    write(tmp_path, PLAN, RECORD, POOL, Failure("2", "abc", "ours", 0, "RewardError: no"))
    found = read_records(tmp_path)
    assert found.header == HEADER
    assert found.plan == PLAN
    assert list(found.done.values()) == [RECORD, POOL]
    assert list(found.failed.values()) == [Failure("2", "abc", "ours", 0, "RewardError: no")]


def test_a_success_makes_up_for_a_failure(tmp_path):
    write(tmp_path, FAILURE, RECORD)
    assert (list(read_records(tmp_path).done.values()), read_records(tmp_path).failed) == ([RECORD], {})


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_was_cut_short_is_removed(tmp_path, cut):
    write(tmp_path, PLAN, RECORD)
    path = tmp_path / "records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert read_records(tmp_path).done == {}
    write(tmp_path, RECORD)
    assert path.read_bytes() == whole


def test_even_a_header_that_was_cut_short(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b'{"kind": "hea')
    write(tmp_path, RECORD)
    assert read_records(tmp_path).header == HEADER


def test_a_plan_is_written_when_it_changes(tmp_path):
    for plan in (PLAN, PLAN, ComparisonPlan(PLAN.searches, PLAN.prompts, (0, 1))):
        with open_journal(tmp_path, HEADER) as journal:
            journal.plan(plan)
    kinds = [line[:14] for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert kinds == ['{"kind": "head', '{"kind": "plan', '{"kind": "plan']


def test_other_settings_are_refused(tmp_path):
    write(tmp_path, RECORD)
    other = {"settings": {"pool": 3, "reward": {"words": ["sky"]}}, "names": {}}
    with (
        pytest.raises(
            ConfigurationError,
            match=r'other settings: pool was 2, now 3; reward.words was \["sea"\], now \["sky"\]\. Give these again',
        ),
        open_journal(tmp_path, other),
    ):
        pass


def test_one_process_writes(tmp_path):
    with (
        FileLock(tmp_path / "records.lock"),
        pytest.raises(ConfigurationError, match="another process writes to"),
        open_journal(tmp_path, HEADER),
    ):
        pass


def test_a_line_that_is_no_record_is_an_error(tmp_path):
    (tmp_path / "records.jsonl").write_text('{"kind": "run"}\n')
    with pytest.raises(ConfigurationError, match=r"line 1 is not a record \(KeyError: 'answers'\)"):
        read_records(tmp_path)


def test_no_records_are_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist; give the folder of an existing comparison"):
        read_records(tmp_path)
