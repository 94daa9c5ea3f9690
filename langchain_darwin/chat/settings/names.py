"""Names of settings: other packages' names for the same thing, hints for what is said otherwise here."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from langchain_darwin.errors import InvalidRequestError

SAME: Mapping[str, str] = MappingProxyType(
    {
        "max_completion_tokens": "max_tokens",
        "max_new_tokens": "max_tokens",
        "max_output_tokens": "max_tokens",
        "max_tokens_to_sample": "max_tokens",
        "min_new_tokens": "min_tokens",
        "model_id": "model",
        "model_name": "model",
        "openai_api_key": "api_key",
        "random_seed": "seed",
        "reward_model": "reward",
        "stop_sequences": "stop",
        "stop_strings": "stop",
        "torch_dtype": "dtype",
    }
)
"""Names in other packages that mean the same as one here; they are accepted."""

_SERVER = "name the server in model=, as 'vllm+http://host:8000/served-name'"
_TEMPLATE = "pass what the model's chat template reads, as chat_template_kwargs={'enable_thinking': False}"
_CANDIDATES = "a search draws several answers, as search=BestOfN(n=8)"
_DRAWN = "tokens are drawn by temperature, top_p and top_k; leave it out"
_USAGE = "usage_metadata is on every answer and on the last chunk of a stream; leave it out"
_TOOLS = "tools are given by bind_tools, or as tools= and tool_choice="
_POLICY = "make the policy yourself, as model=TransformersPolicy(...), or leave it out"

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("api_base", "base_url", "base_urls", "endpoint", "openai_api_base", "server_url"), _SERVER),
        **dict.fromkeys(("enable_thinking", "reasoning", "reasoning_effort", "thinking", "think"), _TEMPLATE),
        **dict.fromkeys(("best_of", "num_beams", "num_return_sequences", "num_generations"), _CANDIDATES),
        **dict.fromkeys(("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"), _DRAWN),
        **dict.fromkeys(("min_p", "typical_p", "top_a"), _DRAWN),
        **dict.fromkeys(("stream_usage", "stream_options"), _USAGE),
        **dict.fromkeys(("functions", "function_call"), _TOOLS),
        **dict.fromkeys(("model_kwargs", "extra_body", "quantization_config", "load_in_8bit", "load_in_4bit"), _POLICY),
        **dict.fromkeys(("logprobs", "top_logprobs"), "log-probabilities are not reported; leave it out"),
        **dict.fromkeys(("request_timeout", "default_request_timeout"), "timeout= ends a search with its best answer"),
        **dict.fromkeys(("num_ctx", "n_ctx", "max_model_len"), "the context is the model's own; leave it out"),
        "device_map": "device= names the device, such as 'cuda:1'",
        "do_sample": "temperature=0 takes the likeliest token, any other value samples",
        "max_concurrency": "it belongs into the config: model.batch(inputs, {'max_concurrency': 8})",
        "num_predict": "max_tokens= limits an answer",
        "system": "put a SystemMessage before the question",
        "system_prompt": "put a SystemMessage before the question",
    }
)
"""Names in other packages for what is said in another way here."""


def translated(
    values: Mapping[str, Any], known: Collection[str], complaint: str, ignored: Collection[str] = ()
) -> dict[str, Any]:
    """The values under the names used here, without those that are None, which means "not given".

    Args:
        values: Settings by name.
        known: Names that are accepted.
        complaint: The beginning of the error's message.
        ignored: Names that are left out.

    Raises:
        InvalidRequestError: A name is not known, or two names for one setting are given.
    """
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in ignored:
            continue
        own = name if name in known else SAME.get(name, name)
        if own not in known:
            raise InvalidRequestError(f"{complaint} {name!r}; {_hint(name, known)}")
        if value is None:
            continue
        if own in made:
            raise InvalidRequestError(f"{own!r} is given twice, under other packages' names; leave one of them out")
        made[own] = value
    return made


def _hint(name: str, known: Collection[str]) -> str:
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    near = difflib.get_close_matches(SAME.get(name, name), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
