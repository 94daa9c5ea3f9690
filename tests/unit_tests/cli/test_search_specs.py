import dataclasses

import pytest

from langchain_darwin.cli.search_specs import SEARCHES, parse_search, parse_searches
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.darwin import Darwin


def test_searches_by_name_have_their_own_defaults():
    made = {name: parse_search(name) for name in SEARCHES}
    assert made["darwin"] == Darwin()
    assert made["darwin-paper"] == Darwin.paper()
    assert made["best-of-n"] == BestOfN()
    assert made["plain"] == BestOfN(n=1)
    assert len({repr(search) for search in made.values()}) == len(made)


def test_options_set_the_fields_of_a_search():
    search = parse_search("darwin", beams=8, cycles=2, period=20, keep=2)
    assert (search.beams, search.cycles, search.period, search.keep) == (8, 2, 20, 2)
    assert parse_search("best-of-n", beams=7, keep=None) == BestOfN(n=7)
    for name, named in SEARCHES.items():
        search = parse_search(
            name, **{**dict.fromkeys(named.options, 4), **({"keep": 3} if "keep" in named.options else {})}
        )
        assert all(getattr(search, field) in (3, 4) for field in named.options.values()), name


@pytest.mark.parametrize(("beams", "keep"), [(2, 1), (3, 2), (5, Darwin().keep), (9, Darwin().keep)])
def test_few_beams_keep_fewer(beams, keep):
    assert parse_search("darwin", beams=beams).keep == keep


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("darwim", {}, "--search 'darwim' is none of darwin, darwin-paper, .*; did you mean 'darwin'"),
        ("best-of-n", {"cycles": 2}, "--cycles means nothing to --search best-of-n, which takes --beams"),
        ("plain", {"beams": 2}, "--beams means nothing to --search plain, which takes no such options"),
        ("darwin", {"period": 0}, "period=0 must be at least 1"),
        ("darwin-paper", {"keep": 5, "beams": 5}, "keep=5 must be"),
    ],
)
def test_wrong_searches_are_refused(name, options, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_search(name, **options)


@pytest.mark.parametrize(
    ("spec", "search"),
    [
        ("darwin", Darwin()),
        ("plain", BestOfN(n=1)),
        ("best-of-n:n=7, batch=2", BestOfN(n=7, batch=2)),
        ("darwin:period=16,carry=text,drift_guard=false", Darwin(period=16, carry="text", drift_guard=False)),
        ("darwin:mutation=none,first_period=none", Darwin(mutation="none")),
        (
            "darwin:resample_temperature=0.5,replacement=resample",
            Darwin(resample_temperature=0.5, replacement="resample"),
        ),
        ("darwin:beams=3", Darwin(beams=3, keep=2)),
        ("darwin-paper:cycles=1", dataclasses.replace(Darwin.paper(), cycles=1)),
    ],
)
def test_searches_with_fields(spec, search):
    assert parse_searches([spec, f"short@{spec}"]) == {spec: search, "short": search}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["darwim:beams=3"], "--searches 'darwim:beams=3': 'darwim' is none of .*; did you mean 'darwin'"),
        (["darwin:beem=3"], "Darwin has no field 'beem'; did you mean 'beams'.; its fields are beams=5, "),
        (["darwin:beams"], "'beams' is not FIELD=VALUE"),
        (["darwin:beams=3,beams=4"], "beams is given twice"),
        (["darwin:beams=few"], "beams='few' is not possible: Input should be a valid integer"),
        (["darwin:beams=none"], "beams='none' is not possible"),
        (["darwin:carry=all"], "carry='all' is not possible: Input should be 'branch' or 'text'"),
        (["majority-vote:answer=int"], "answer='int' is not possible"),
        (["darwin:period=0"], "period=0 must be at least 1"),
        (["darwin", "darwin"], "the label 'darwin' occurs twice"),
    ],
)
def test_wrong_fields_are_refused(specs, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_searches(specs)
