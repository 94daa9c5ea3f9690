"""The way from `invoke` to the first tokens is short, and a call's settings are resolved once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "way_in.py"


@pytest.fixture(scope="module")
def way_in():
    spec = importlib.util.spec_from_file_location("way_in", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.files_on_the_way_in(module.example())  # imports are done once
    return module


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5, "seed": 3, "stop": "\n\n"}])
def test_fifteen_changes_of_room_and_one_visit_to_the_settings(way_in, settings):
    model = way_in.example()
    way_in.files_on_the_way_in(model)
    files = way_in.files_on_the_way_in(model, **settings)
    assert len(way_in.rooms(files)) <= 15
    assert way_in.visits(files) == 1


def test_rooms_are_folders_and_loose_files(way_in):
    files = ["chat/prepare.py", "chat/settings/call.py", "chat_models.py", "chat/settings/names.py", "search/base.py"]
    assert way_in.rooms(files) == ["chat", "chat_models.py", "chat", "search"]
    assert way_in.visits(files) == 2
