"""How texts are put together of drafts. The drafts here come from a function; on a real server in integration_tests."""

import asyncio
import hashlib
from concurrent.futures import Future
from dataclasses import replace

import pytest

from langchain_darwin.errors import PolicyError
from langchain_darwin.policies.base import Job, Sampling
from langchain_darwin.policies.sequences import Submission, open_sequence
from langchain_darwin.policies.vllm.drafting import RemoteSequence, Service, Spent
from langchain_darwin.policies.vllm.prefetched import PrefetchedTokens
from langchain_darwin.policies.vllm.requests import Piece
from langchain_darwin.runtime.text.thinking import Thought
from langchain_darwin.testing.word_codec import WordCodec

CODEC = WordCodec()
PROMPT = (256, 257)
WORDS = CODEC.encode_text(" a b c d e f g h")
SAMPLING = Sampling(1.0, max_tokens=20)
LOGPROB = -0.5


class Drafting:
    """In place of servers: draws words from each request's seed, one at a time, as a server's random stream does.

    Attributes:
        asked: Index at which each request begins, and how many tokens it asks for.
        breaks: After how many tokens each of the next answers breaks off, to be asked for again.
        rounding: Changes what is drawn, as other texts in a server's batch may.
    """

    def __init__(self):
        self.asked, self.breaks, self.rounding = [], [], 0

    async def complete(self, home, body, reader, *, at_once=False):
        start, count = len(body["prompt"]) - len(PROMPT), body["max_tokens"]
        self.asked.append((start, count))
        for broken in [*self.breaks, None]:
            reader.begin()
            if self._answer(body, reader, count if broken is None else broken):
                return
            self.rounding += 1 if self.rounding else 0
        self.breaks = []

    def _answer(self, body, reader, count):
        for index in range(count):
            if not reader.take(Piece((self._draw(body, index),), (LOGPROB,), ended=index + 1 == body["max_tokens"])):
                return True
        return count == body["max_tokens"] and reader.take(Piece(total=count, cached=len(body["prompt"]) // 2))

    def _draw(self, body, index):
        seed = 0 if body["temperature"] == 0 else body["seed"]
        digest = hashlib.blake2b(f"{seed}/{index}/{self.rounding}".encode(), digest_size=2).digest()
        return WORDS[int.from_bytes(digest, "big") % len(WORDS)]


@pytest.fixture
def servers():
    return Drafting()


@pytest.fixture
def service(servers):
    return Service(servers, CODEC, 8, PrefetchedTokens(), Spent())


def job(written=(), **changes):
    return replace(Job(PROMPT + tuple(written), len(PROMPT), SAMPLING, key=3), **changes)


async def grow(service, given, on_tokens=None):
    submission = Submission(Future(), on_tokens)
    text = open_sequence(given, 0, submission, 1000, CODEC, None)
    if not text.done:
        await RemoteSequence(text, service, None).run()
    return text.growth()


async def grow_in_steps(service, steps, **changes):
    written = ()
    for tokens in [*steps, None]:
        growth = await grow(service, job(written, tokens=tokens, **changes))
        written += growth.tokens
    return written


async def test_drafts_end_at_multiples_of_the_block(service, servers):
    growth = await grow(service, job())
    assert servers.asked == [(0, 8), (8, 8), (16, 4)]
    assert (len(growth.tokens), growth.finish, growth.logprob) == (20, "length", 20 * LOGPROB)


@pytest.mark.parametrize("steps", [(1,), (7,), (8,), (9,), (3, 3, 3, 3, 3), (8, 8), (1,) * 19])
async def test_however_it_is_cut_the_text_is_the_same(service, servers, steps):
    whole = (await grow(service, job())).tokens
    apart = Service(servers, CODEC, 8, PrefetchedTokens(), Spent())
    assert await grow_in_steps(apart, steps) == whole
    assert servers.asked[3:] == [(0, 8), (8, 8), (16, 4)]
    assert apart.spent == Spent(requests=3, drawn=20, taken=20)


async def test_what_is_drawn_in_advance_and_dropped_is_told(service):
    await grow(service, job(tokens=5))
    assert service.spent == Spent(requests=1, drawn=8, taken=5)


async def test_a_copy_goes_on_with_its_donors_draft_only_under_the_same_key(service, servers):
    start = (await grow(service, job(tokens=5))).tokens
    donor, copy, branch = [(await grow(service, job(start, key=key))).tokens for key in (3, 3, 4)]
    assert (donor == copy, donor == branch) == (True, False)
    assert servers.asked[-3:] == [(5, 3), (8, 8), (16, 4)]


async def test_greedy_texts_ask_for_what_they_need(service, servers):
    greedy = replace(SAMPLING, temperature=0)
    await grow_in_steps(service, (5, 10), sampling=greedy)
    assert servers.asked == [(0, 5), (5, 10), (15, 5)]
    assert len(service.prefetched) == 0


async def test_a_stop_string_ends_the_text_and_its_draft(service, servers):
    whole = (await grow(service, job())).tokens
    stop = CODEC.decode(whole[:6])[-2:]
    first = next(n for n in range(1, 21) if stop in CODEC.decode(whole[:n]))
    stopped = replace(SAMPLING, stop=(stop,))
    growth = await grow(service, job(sampling=stopped))
    assert (growth.tokens, growth.finish) == (whole[:first], "stop")


async def test_costs_are_the_first_requests(service):
    growth = await grow(service, job(WORDS[:6]))
    assert (growth.prefilled, growth.reused) == (4, 4)


@pytest.mark.parametrize("broken", [0, 1, 5, 8])
async def test_a_repeated_request_tells_nothing_twice(service, servers, broken):
    told = []
    whole = await grow(service, job())
    servers.breaks = [broken, 3]
    growth = await grow(service, job(), lambda index, tokens: told.extend(tokens))
    assert growth.tokens == tuple(told) == whole.tokens


async def test_what_was_told_stays_where_a_repetition_differs(service, servers):
    told = []
    servers.breaks, servers.rounding = [5], 1
    growth = await grow(service, job(), lambda index, tokens: told.extend(tokens))
    assert growth.tokens == tuple(told)
    assert len(told) == 20
    assert servers.asked[0] == (0, 8)
    assert servers.asked[1][0] == 5


async def test_an_on_tokens_that_raises_is_named(service):
    with pytest.raises(PolicyError, match="on_tokens raised: ZeroDivisionError"):
        await grow(service, job(), lambda index, tokens: 1 / 0)


async def test_no_time_left_gives_what_there_is(service, servers):
    servers.complete = _never
    growth = await grow(service, job(deadline=0.0))
    assert (growth.tokens, growth.finish) == ((), "timeout")


async def _never(*args, **kwargs):
    await asyncio.get_running_loop().create_future()


async def test_a_server_learns_of_stop_strings_once_the_answer_has_begun(service, servers):
    told = []
    complete = servers.complete

    async def listen(home, body, reader, *, at_once=False):
        told.append(body["stop"])
        await complete(home, body, reader, at_once=at_once)

    servers.complete = listen
    sampling = replace(SAMPLING, stop=("zz",), thought=Thought("[", "]"), max_tokens=40)
    await grow(service, job(sampling=sampling))
    thinking = CODEC.encode_text(" [ a b")
    await grow(service, job(thinking, sampling=sampling, tokens=4))
    await grow(service, job((*thinking, *CODEC.encode_text(" ] c")), sampling=sampling, tokens=4))
    assert told[0] == []
    assert told[1:5] == [["zz"]] * 4
    assert told[5] == []
    assert told[-1] == ["zz"]
