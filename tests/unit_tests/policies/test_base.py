"""Checks of arguments that name the argument, the value and what is allowed."""

from __future__ import annotations

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_choice


def test_a_choice_names_the_alternatives():
    check_choice("how", "a", ("a", "b"))
    with pytest.raises(ConfigurationError, match="how='c' must be one of 'a', 'b'"):
        check_choice("how", "c", ("a", "b"))
