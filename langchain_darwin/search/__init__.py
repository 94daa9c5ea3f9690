"""Searches: algorithms that turn a policy's tokens and a reward's scores into an answer, one a file.

Read `base.py` first: it has all names that a search is written with, from the folder `vocabulary`. `best_of_n.py`
is the shortest search, `darwin.py` the longest. `steps.py` holds the steps that several searches share. The folder
`driver` runs a search, and the folder `mutation` rewrites instructions.

The names below are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.search.args import ARGS
    from langchain_darwin.search.best_of_n import BestOfN
    from langchain_darwin.search.blockwise import BlockwiseBestOfK
    from langchain_darwin.search.darwin import Darwin
    from langchain_darwin.search.majority_vote import MajorityVote
    from langchain_darwin.search.particles import Particles
    from langchain_darwin.search.soft_best_of_n import SoftBestOfN
    from langchain_darwin.search.speculative_rejection import SpeculativeRejection
    from langchain_darwin.search.stop_at import StopAt

__all__ = [
    "ARGS",
    "BestOfN",
    "BlockwiseBestOfK",
    "Darwin",
    "MajorityVote",
    "Particles",
    "SoftBestOfN",
    "SpeculativeRejection",
    "StopAt",
]

_HOMES = {
    "ARGS": "args",
    "BestOfN": "best_of_n",
    "BlockwiseBestOfK": "blockwise",
    "Darwin": "darwin",
    "MajorityVote": "majority_vote",
    "Particles": "particles",
    "SoftBestOfN": "soft_best_of_n",
    "SpeculativeRejection": "speculative_rejection",
    "StopAt": "stop_at",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
