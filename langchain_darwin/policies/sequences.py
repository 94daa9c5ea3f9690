"""The texts of one `submit`, as every policy keeps them until their future is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from langchain_darwin.errors import DarwinError, PolicyError
from langchain_darwin.policies.base import Codec, Constraint, FinishReason, Growth, Job, OnTokens, Sampling
from langchain_darwin.runtime.text.stop_strings import completes

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.matcher import CompiledGrammar, Matcher

_T = TypeVar("_T")


@dataclass(eq=False)
class Submission:
    """The jobs of one `submit`."""

    future: Future[list[Growth]]
    on_tokens: OnTokens | None
    texts: list[TokenSequence] = field(default_factory=list)

    def deliver(self) -> None:
        """Give the caller all texts if all are done."""
        if all(text.done for text in self.texts):
            resolve(self.future, [text.growth() for text in self.texts])


@dataclass(eq=False)
class TokenSequence:
    """One job, waiting or live."""

    job: Job
    index: int
    submission: Submission
    most: int  # new tokens after which it ends or pauses
    finish_at_most: FinishReason | None
    room: int = 0  # new tokens after which it ends, over this and later jobs
    grammar: CompiledGrammar | None = None
    matcher: Matcher | None = None
    new: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: FinishReason | None = None
    done: bool = False
    cost: tuple[int, int] | None = None  # prefilled and reused
    read: int = 0  # leading tokens computed while it waited for a row
    prefilled_ahead: int = 0  # those of them that were not in memory

    @property
    def tokens(self) -> tuple[int, ...]:
        """Token ids of prompt and response so far."""
        return (*self.job.prefix, *self.new) if self.new else self.job.prefix

    @property
    def response(self) -> tuple[int, ...]:
        """Token ids of the response so far."""
        return (*self.job.prefix[self.job.start :], *self.new)

    @property
    def length(self) -> int:
        """Tokens of prompt and response so far; also the position of the next one."""
        return len(self.job.prefix) + len(self.new)

    @property
    def newest(self) -> int:
        """The last token id."""
        return self.new[-1] if self.new else self.job.prefix[-1]

    @property
    def sampling(self) -> Sampling:
        """Return how its tokens are drawn."""
        return self.job.sampling

    @property
    def key(self) -> int:
        """The key of its random stream."""
        return self.job.key

    @property
    def floor(self) -> int:
        """The first position at which it may end."""
        return self.job.start + self.job.sampling.min_tokens

    @property
    def begun(self) -> bool:
        """True if some of its response is written, so that memory is lost by letting others go first."""
        return bool(self.new) or len(self.job.prefix) > self.job.start

    @property
    def gone(self) -> bool:
        """True if nobody waits for more of it."""
        return self.done or self.submission.future.done()

    def take(self, token: int, logprob: float, codec: Codec) -> bool:
        """Append a drawn token; return True if the text ends, or pauses, with it."""
        self.new.append(token)
        self.logprob += logprob
        long_enough = self.length > self.job.start + self.job.sampling.min_tokens
        if (token in codec.end_ids and long_enough) or stops(self, codec):
            self.finish, self.done = "length" if self._cut_short() else "stop", True
        elif len(self.new) >= self.most:
            self.finish, self.done = self.finish_at_most, True
        return self.done

    def _cut_short(self) -> bool:
        """Return True if the grammar had to end the text because its tokens ran out."""
        return self.matcher is not None and self.matcher.cut_short(self.room - len(self.new))

    def expire(self, now: float) -> None:
        """End the text if its deadline is not after `now`, a `time.monotonic()`."""
        deadline = self.job.deadline
        if deadline is not None and deadline <= now and not self.done:
            self.finish, self.done = "timeout", True
            self.submission.deliver()

    def fail(self, error: Exception, what: str = "the model failed while decoding") -> None:
        """Deliver an error in place of all texts of the submission."""
        reject(self.submission.future, what, error)

    def growth(self) -> Growth:
        """Return what the caller gets for it."""
        prefilled, reused = self.cost or (0, 0)
        return Growth(tuple(self.new), self.logprob, self.finish, prefilled, reused)


def open_submission(
    jobs: Sequence[Job],
    on_tokens: OnTokens | None,
    context_length: int,
    codec: Codec,
    compile_grammar: Callable[[Constraint], CompiledGrammar],
) -> Submission:
    """Make the texts of one `submit`; arguments as of `open_sequence`."""
    submission = Submission(Future(), on_tokens)
    for index, job in enumerate(jobs):
        text = open_sequence(job, index, submission, context_length, codec, compile_grammar)
        submission.texts.append(text)
    return submission


def open_sequence(
    job: Job,
    index: int,
    submission: Submission,
    context_length: int,
    codec: Codec,
    compile_grammar: Callable[[Constraint], CompiledGrammar],
) -> TokenSequence:
    """Make a text of a job; it is done at once if there is nothing to add to it.

    Args:
        job: What to go on with.
        index: Of the job in its submission.
        submission: Where it belongs.
        context_length: Most tokens of prompt and response.
        codec: The model's tokenizer, for stop strings.
        compile_grammar: Makes the grammar of a constraint.
    """
    written = len(job.prefix) - job.start
    room = min(job.sampling.max_tokens - written, context_length - len(job.prefix))
    paused = job.tokens is not None and job.tokens < room
    most = job.tokens if paused and job.tokens is not None else room
    text = TokenSequence(job, index, submission, most, None if paused else "length", room)
    if job.sampling.constraint is not None:
        text.grammar = compile_grammar(job.sampling.constraint)
        text.job = job = replace(job, sampling=replace(job.sampling, min_tokens=0))  # the grammar comes first
    ended = written > 0 and job.prefix[-1] in codec.end_ids
    if ended or (written >= max(1, job.sampling.min_tokens) and stops(text, codec)):
        text.finish, text.done = "stop", True
    elif most <= 0:
        text.finish, text.done = text.finish_at_most, True
    return text


def stops(text: TokenSequence, codec: Codec) -> bool:
    """Return True if the newest token completes a stop string of the response.

    Every token has at least a byte, so a few more tokens than the longest stop string has bytes hold all of
    it. The whole response is read only where these hold one and the model may have been thinking.
    """
    stop, thought = text.job.sampling.stop, text.job.sampling.thought
    if not stop or text.length < text.job.start + text.job.sampling.min_tokens:
        return False
    reach = max(len(string.encode()) for string in stop) + 4
    if thought is None:
        tail = _last(text, reach)
        return completes(codec.decode(tail[:-1]), codec.decode(tail), stop)
    written = codec.decode(_last(text, reach + len(thought.begin)))
    return any(string in written for string in stop) and _answer_stops(text, codec)


def _answer_stops(text: TokenSequence, codec: Codec) -> bool:
    """As `stops`, by the whole response: a stop string counts once it is known that the answer has begun."""
    response, sampling = _last(text, text.length - text.job.start), text.job.sampling
    before, written = marked_text(response[:-1], codec), marked_text(response, codec)
    return completes(before, written, sampling.stop, sampling.thought)


def marked_text(tokens: Sequence[int], codec: Codec) -> str:
    """Return the text of tokens with special tokens, where the codec has any: thinking may be set off by them."""
    decode: Callable[[Sequence[int]], str] = getattr(codec, "decode_marked", codec.decode)
    return decode(tokens)


def _last(text: TokenSequence, count: int) -> Sequence[int]:
    """The last `count` tokens of the response, or all if it has fewer."""
    tail = text.new[-count:]
    if len(tail) == count:
        return tail
    response = text.job.prefix[text.job.start :]
    return [*response[max(0, len(response) - count + len(tail)) :], *tail]


def resolve(future: Future[_T], result: _T) -> None:
    """Deliver a result, unless the future was cancelled or has failed."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_result(result)


def reject(future: Future[_T], what: str, error: Exception) -> None:
    """Deliver an error, unless the future is done; one that is not ours becomes a `PolicyError` that says `what`."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if isinstance(error, DarwinError):
        future.set_exception(error)
        return
    failure = PolicyError(f"{what}: {type(error).__name__}: {error}")
    failure.__cause__ = error
    future.set_exception(failure)
