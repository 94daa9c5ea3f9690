import io
from dataclasses import replace

from rich.console import Console

from langchain_darwin.evaluation.records import Failure
from langchain_darwin.evaluation.reporting.report import Difference, Point, Report, ReportRow
from langchain_darwin.evaluation.reporting.tables import failures, introduction, markdown, tables
from langchain_darwin.evaluation.statistics.intervals import Interval
from langchain_darwin.evaluation.statistics.paired import Paired

SETTINGS = {"policy": {"model": "some/model"}, "temperature": 0.7, "top_k": 40, "top_p": 1.0, "max_tokens": 96}
NAMES = {"prompts": "lines.txt", "reward": "keywords", "gold": "variety"}
COST = {
    "decoded": 1234.5,
    "prefilled": 40.0,
    "answer_tokens": 80.0,
    "judged": 3.25,
    "judged_tokens": 800.0,
    "reward_seconds": 0.25,
    "seconds": 12.34,
}
DIFFERENCE = Difference(7.44, Interval(0.05, -0.01, 0.11), Interval(-1.5, -2.25, 0.125), above=0.25, below=0.0)
ROW = ReportRow(
    "a|b",
    {"search": "BestOfN", "n": 3, "batch": None},
    2,
    4,
    Interval(0.5, 0.25, 0.75),
    Interval(12.0, 9.5, 14.0),
    COST,
    DIFFERENCE,
    None,
)
CURVE = (Point(1, 100.0, Interval(0.25, 0.125, 0.375), Interval(11.0, 10.0, 12.0)),)
REPORT = Report({"settings": SETTINGS, "names": NAMES}, 2, (0, 1), 8, 8, 20, 1, (ROW,), CURVE, ())

PAGE = """\
# Searches compared

2 prompts of lines.txt, seeds 0, 1. Model some/model, temperature 0.7, top-k 40, top-p 1, at most 96 tokens an answer. \
The searches are guided by the reward `keywords`; the gold, which none of them sees, is `variety`.

Figures in brackets are 95 % bootstrap intervals over prompts, each prompt being the mean of its seeds.

## What they reached

| search | prompts | reward | gold |
|---|---:|---:|---:|
| one plain sample |  | 0.250 [0.125, 0.375] | 11.0 [10.0, 12.0] |
| a\\|b | 2 | 0.500 [0.250, 0.750] | 12.0 [9.5, 14.0] |

One plain sample is the mean over all samples of the pool.

## What they cost

| search | policy tokens | prompt tokens | answer tokens | texts judged | tokens judged | reward seconds | seconds |
|---|---:|---:|---:|---:|---:|---:|---:|
| a\\|b | 1,234 | 40 | 80 | 3.2 | 800 | 0.2 | 12.3 |

Means over prompts. Policy tokens are all that were drawn, rewritten instructions included; prompt tokens are those \
that the policy computed and did not have in memory. Tokens judged are those of the answers that went to the reward, \
as often as they went.

## Difference to Best-of-N at equal policy tokens

| search | N | reward | gold |
|---|---:|---:|---:|
| a\\|b | 7.4 | +0.050 [-0.010, +0.110] | -1.50 [-2.25, +0.12] |

Search less Best-of-N, prompt by prompt. N samples have as many policy tokens as the search on that prompt. N is \
between 1 and the 20 samples of the pool.

a|b: 25% of its runs spent more than the greatest N there is, which then is the reference.

## Best-of-N from the pool

| N | policy tokens | reward | gold |
|---|---:|---:|---:|
| 1 | 100 | 0.250 [0.125, 0.375] | 11.0 [10.0, 12.0] |

Expected over all subsets of the 20 plain samples of each prompt and seed.

## The searches

- a|b: `BestOfN(n=3, batch=None)`
"""


def test_the_page():
    assert markdown(REPORT) == PAGE


def test_equal_seconds_have_a_table_where_they_can_be_told():
    timed = replace(REPORT, rows=(replace(ROW, equal_seconds=DIFFERENCE),))
    assert [table.title for table in tables(timed)] == [
        "What they reached",
        "What they cost",
        "Difference to Best-of-N at equal policy tokens",
        "Difference to Best-of-N at equal seconds",
        "Best-of-N from the pool",
    ]


def test_a_few_runs_are_not_said_to_be_none():
    rare = replace(REPORT, rows=(replace(ROW, equal_tokens=replace(DIFFERENCE, above=0.0, below=0.004)),))
    assert "a|b: under 1% of its runs spent less than the least N there is" in markdown(rare)


def test_further_searches_are_held_against_the_first():
    paired = Paired(2, 1.254, Interval(-0.05, -0.11, 0.01), Interval(0.0, 0.0, 0.0))
    two = replace(REPORT, rows=(ROW, replace(ROW, label="ours", to_first=paired)))
    (table,) = (table for table in tables(two) if table.title == "Difference to a|b")
    assert table.headings == ("search", "tokens", "reward", "gold")
    assert table.rows == (("ours", "1.25", "-0.050 [-0.110, +0.010]", "+0.000 [+0.000, +0.000]"),)


def test_runs_that_shared_the_machine_are_told():
    assert "Up to 4 runs shared the machine" in markdown(replace(REPORT, at_once=4))


def test_an_unfinished_comparison_says_so():
    assert introduction(replace(REPORT, done=5))[-1].startswith("NOT FINISHED: 5 of 8 runs are done")


def test_failures_are_listed_up_to_ten():
    many = tuple(Failure(str(i), "abc", "ours", 0, "RewardError: no") for i in range(12))
    lines = failures(replace(REPORT, failures=many))
    assert lines[0] == "prompt 0, ours, seed 0: RewardError: no"
    assert (len(lines), lines[-1]) == (11, "and 2 more in the records")
    assert "## Runs that failed\n\n- prompt 0, ours" in markdown(replace(REPORT, failures=many))


def test_a_terminal_of_80_columns_shows_every_figure():
    console = Console(width=80, record=True, file=io.StringIO())
    for table in tables(replace(REPORT, rows=(replace(ROW, equal_seconds=DIFFERENCE),))):
        console.print(table.rich())
    shown = console.export_text()
    assert all(figure in shown for figure in ("12.0 [9.5, 14.0]", "1,234", "12.3", "-1.50 [-2.25, +0.12]"))
    assert "…" not in shown
