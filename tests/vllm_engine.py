"""An engine with the interface of vLLM's `AsyncLLM`, which draws words from a request's seed.

`tests/integration_tests/policies/vllm/test_engine.py` holds its signatures against the real ones.
"""

import asyncio
import hashlib
from types import SimpleNamespace

from langchain_darwin.policies.vllm.engine.server import RunningEngine
from langchain_darwin.testing.word_codec import WordCodec

CODEC = WordCodec()
WORDS = CODEC.encode_text(" a b c d e f g h")
LOGPROB = -0.5
DELTA, FINAL_ONLY = "DELTA", "FINAL_ONLY"


class VLLMServerError(Exception):
    """As vllm.exceptions has it."""


class EngineDeadError(VLLMServerError):
    """As vllm.v1.engine.exceptions has it."""


class VLLMClientError(Exception):
    """As vllm.exceptions has it."""


class VLLMValidationError(VLLMClientError):
    """As vllm.exceptions has it."""


class AsyncLLM:
    """A stand-in.

    Attributes:
        begun: Set with the first request.
        asked: The length of the prompt and the most tokens of each request.
        unfinished: Requests that were neither finished nor aborted.
        dies_after: Tokens after which the process dies; None never.
        silently: Leave requests waiting then, as vLLM does when its process is killed.
    """

    def __init__(self, *, by_position=False, dies_after=None, silently=False, refuses=None):
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=1000), use_v2_model_runner=by_position
        )
        self.by_position, self.dies_after, self.refuses = by_position, dies_after, refuses
        self.silently = silently
        self.begun = asyncio.Event()
        self.asked, self.unfinished, self.errored, self.drawn = [], set(), False, 0

    async def generate(self, prompt, sampling_params, request_id, *, lora_request=None):
        if self.refuses is not None:
            raise self.refuses
        ids = prompt["prompt_token_ids"]
        self.asked.append((len(ids), sampling_params.max_tokens))
        self.unfinished.add(request_id)
        self.begun.set()
        made = []
        try:
            for index in range(sampling_params.max_tokens):
                await asyncio.sleep(0)
                await self._step()
                made.append(self._draw(sampling_params, len(ids) if self.by_position else 0, index))
                last = index + 1 == sampling_params.max_tokens
                if sampling_params.output_kind == DELTA:
                    yield _output(made[-1:], ended=last)
            if sampling_params.output_kind == FINAL_ONLY:
                yield _output(made, ended=True)
        finally:
            self.unfinished.discard(request_id)

    def shutdown(self, timeout=None):
        self.errored = True

    async def _step(self):
        self.drawn += 1
        if self.errored or (self.dies_after is not None and self.drawn > self.dies_after):
            self.errored = True
            if self.silently:
                await asyncio.sleep(3600)
            raise EngineDeadError("EngineCore encountered an issue")

    def _draw(self, params, start, index):
        digest = hashlib.blake2b(f"{params.seed}/{start + index}".encode(), digest_size=2).digest()
        return WORDS[int.from_bytes(digest, "big") % len(WORDS)]


def _output(tokens, *, ended):
    logprobs = [{token: SimpleNamespace(logprob=LOGPROB)} for token in tokens]
    reason = "length" if ended else None
    completion = SimpleNamespace(token_ids=tokens, logprobs=logprobs, finish_reason=reason)
    return SimpleNamespace(outputs=[completion], num_cached_tokens=4)


def params(arguments, at_once):
    return SimpleNamespace(**arguments, output_kind=DELTA if at_once else FINAL_ONLY)


def engine(llm, closed=None):
    """An `RunningEngine` of that `AsyncLLM`; `closed` is told when it is ended."""

    def close():
        llm.shutdown()
        if closed is not None:
            closed.append(llm)

    return RunningEngine(llm, params, None, "org/name", close)
