"""Inboxes hand over what other threads post, in order."""

from __future__ import annotations

import asyncio
import threading

from langchain_darwin.search.driver.inbox import AsyncInbox, Inbox

ARRIVALS = [(0, [5]), (1, [6, 7]), None]


def post_all(inbox):
    for arrival in ARRIVALS:
        inbox.post(arrival)


def test_a_blocking_inbox_keeps_the_order():
    inbox = Inbox()
    threading.Thread(target=post_all, args=(inbox,)).start()
    assert [inbox.get() for _ in ARRIVALS] == ARRIVALS


async def test_an_inbox_of_an_event_loop_keeps_the_order():
    inbox = AsyncInbox()
    threading.Thread(target=post_all, args=(inbox,)).start()
    assert [await inbox.get() for _ in ARRIVALS] == ARRIVALS


def test_posting_to_a_closed_event_loop_does_nothing():
    async def make():
        return AsyncInbox()

    post_all(asyncio.run(make()))
