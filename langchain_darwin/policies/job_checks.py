"""What every policy refuses about a job before any model is asked."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_darwin.errors import ConfigurationError, ContextOverflowError
from langchain_darwin.policies.base import Job
from langchain_darwin.runtime.ranges import check_range


def check_job(job: Job, context_length: int, name: str, remedy: str) -> None:
    """Raise unless a job can be continued, or has at least been a text of the model.

    Args:
        job: What is asked.
        context_length: Most tokens of prompt and response together.
        name: The model's, for the message.
        remedy: What gives a longer context, for the message.

    Raises:
        ConfigurationError: The prefix is empty, or `start` or `tokens` is out of its range.
        ContextOverflowError: The prefix is longer than the context, or a prompt fills it.
    """
    if not 0 <= job.start <= len(job.prefix):
        msg = f"start={job.start} must be between 0 and the length of the prefix, {len(job.prefix)}"
        raise ConfigurationError(msg)
    if job.tokens is not None:
        check_range("tokens", job.tokens, low=0)
    is_prompt = job.start == len(job.prefix)
    check_prefix(job.prefix, context_length, name, remedy, room=int(is_prompt))


def check_prefix(prefix: Sequence[int], context_length: int, name: str, remedy: str, *, room: int = 0) -> None:
    """Raise if a prefix is empty, or leaves less room than `room` tokens in the context; see `check_job`."""
    if not prefix:
        msg = "prefix=() is empty; it must hold at least one token"
        raise ConfigurationError(msg)
    if len(prefix) + room > context_length:
        msg = (
            f"prefix of {len(prefix)} tokens leaves no room in the context of {context_length} tokens of {name};"
            f" shorten the messages{remedy}"
        )
        raise ContextOverflowError(msg)
