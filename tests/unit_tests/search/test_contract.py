"""Every search that comes with the package, held to the contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from langchain_darwin.search.args import ARGS
from langchain_darwin.search.best_of_n import BestOfN
from langchain_darwin.search.blockwise import BlockwiseBestOfK
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.majority_vote import MajorityVote
from langchain_darwin.search.particles import Particles
from langchain_darwin.search.soft_best_of_n import SoftBestOfN
from langchain_darwin.search.speculative_rejection import SpeculativeRejection
from langchain_darwin.search.stop_at import StopAt
from langchain_darwin.testing.contracts import SearchContract

SHORT = Darwin(period=8)  # answers have about 20 tokens
MAXIMISING = {
    "best_of_n": BestOfN(n=4),
    "best_of_n_in_batches": BestOfN(n=5, batch=2),
    "speculative_rejection": SpeculativeRejection(n=8, first=4),
    "blockwise": BlockwiseBestOfK(k=4, block=6),
    "blockwise_decaying": BlockwiseBestOfK(k=6, block=5, decay=0.6),
    "particles": Particles(n=5, period=6, temperature=0.2),
    "particles_by_ess": Particles(n=5, period=6, temperature=0.2, ess=0.5),
    "darwin": SHORT,
    "darwin_of_the_paper": replace(Darwin.paper(), period=8),
    "replacement_only": replace(SHORT, mutation="none"),
    "resampling_only": replace(SHORT, mutation="none", replacement="resample"),
    "mutation_only": replace(SHORT, replacement="none", cycles=2),
    "look_ahead": replace(SHORT, look_ahead=5),
    "two_beams_a_mutation": replace(SHORT, per_instruction=2),
    "stop_at": StopAt(0.9, replace(SHORT, cycles=2)),
    "stop_at_in_batches": StopAt(0.8, BestOfN(n=6, batch=2)),
    "stop_at_after_a_first_try": StopAt(0.8, SHORT, first=BestOfN(n=2)),
}
OTHERS = {
    "majority_vote": MajorityVote(n=5),
    "weighted_vote": MajorityVote(n=5, weighted=True),
    "vote_by_key": MajorityVote(n=5, answer=len),
    "soft_best_of_n": SoftBestOfN(n=4, temperature=0.3),
    "args_stochastic": ARGS(top_k=4, temperature=0.5, n=2),
}


@pytest.mark.parametrize("search", MAXIMISING.values(), ids=MAXIMISING)
class TestMaximisingSearches(SearchContract):
    pass


@pytest.mark.parametrize("search", OTHERS.values(), ids=OTHERS)
class TestOtherSearches(SearchContract):
    maximises = False


@pytest.mark.parametrize("search", [ARGS(top_k=4)], ids=["args_greedy"])
class TestGreedySearches(SearchContract):
    maximises = False
    draws = False
