"""Start and end of vLLM's engine. Its core is a process of its own, which must not outlive this one."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import multiprocessing
import multiprocessing.util  # registers its handler for exits, which must come before ours
import os
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.policies.vllm.engine.failures import start_failure
from langchain_darwin.policies.vllm.engine.main_guard import check_main_guard
from langchain_darwin.policies.vllm.engine.server import RunningEngine
from langchain_darwin.policies.vllm.engine.settings import EngineSettings, check_known, require_vllm
from langchain_darwin.runtime.forks import PerProcess

_log = logging.getLogger(__name__)

_CORE = "EngineCore"  # how the name of vLLM's process begins
_PATIENCE = 20.0  # seconds that a process has to end by itself
_STARTS_WITH = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork would copy locks that other threads of this process hold
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
# Ends the processes that it is given when the pipe of its standard input closes, as it does when this process dies.
_LIFELINE = 'cat >/dev/null; kill -KILL "$@" 2>/dev/null'
_LOG_CONFIG: Mapping[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"vllm": {"class": "vllm.logging_utils.NewLineFormatter", "format": "%(levelname)s %(message)s"}},
    "loggers": {"vllm": {"handlers": ["stderr", "errors"], "propagate": False}},
}


class _Own:
    """The engines of one process."""

    def __init__(self) -> None:
        self.starting = threading.Lock()
        self.engines: set[_Resources] = set()
        # Registered after multiprocessing's own handler, so called before it. That one waits for the engine for ever.
        atexit.register(self.end)
        self._pid = os.getpid()

    def end(self) -> None:
        """End all engines, those that are being started too; not in a forked child, whose they are not."""
        if self._pid != os.getpid():
            return
        for each in list(self.engines):
            each.close()
        for child in multiprocessing.active_children():
            if child.name.startswith(_CORE):
                child.kill()
                child.join(_PATIENCE)


_own = PerProcess(_Own)


class _Resources:
    """All that one engine holds beside its memory."""

    def __init__(self, llm: Any, folder: tempfile.TemporaryDirectory[str], cores: list[Any]) -> None:
        self._llm = llm
        self._folder = folder
        self._cores = cores
        self._lock = threading.Lock()
        self._closed = False
        pids = [str(core.pid) for core in cores]
        self._lifeline = subprocess.Popen(  # noqa: S603  (numbers of processes)
            ["/bin/sh", "-c", _LIFELINE, "lifeline", *pids],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        _inherited.add(self)

    def close(self) -> None:
        """End the engine's process and wait until it is gone; the second time nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        _own.get().engines.discard(self)
        try:
            self._llm.shutdown(timeout=_PATIENCE)
        finally:
            for core in self._cores:
                core.kill()
                core.join(_PATIENCE)
            self._lifeline.kill()
            self._let_go()
            self._lifeline.wait()
            self._folder.cleanup()

    def leave(self) -> None:
        """Forget it in a forked child, which would otherwise end its parent's engine or wait for it when it exits."""
        self._let_go()  # else the pipe would stay open after the parent's death
        multiprocessing.process._children.difference_update(self._cores)  # type: ignore[attr-defined]  # noqa: SLF001
        client = self._llm.engine_core
        for owner in (client, client.resources.engine_manager):
            owner._finalizer.detach()  # noqa: SLF001  (vLLM has no other way)

    def _let_go(self) -> None:
        """Close this end of the lifeline's pipe."""
        if self._lifeline.stdin is not None:
            self._lifeline.stdin.close()


_inherited: weakref.WeakSet[_Resources] = weakref.WeakSet()


def _leave_all() -> None:
    """After a fork: the engines are the parent's."""
    for each in list(_inherited):
        with contextlib.suppress(AttributeError):
            each.leave()
    _inherited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


def start_engine(settings: EngineSettings) -> RunningEngine:
    """Start an engine and return it when it answers, after a minute or more.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ConfigurationError: Its settings, the memory or the running script do not allow it.
        ModelNotFound: There is no such model.
        PolicyError: It did not start for another reason.
    """
    require_vllm()
    check_main_guard()
    own = _own.get()
    with own.starting, _environment(settings):  # which belongs to the whole process
        began = time.monotonic()
        _log.info("vLLM's engine for %r is started, which takes a minute or more", settings.name)
        engine, resources = _start(settings)
        own.engines.add(resources)
        _log.info("vLLM's engine for %r has started after %.0f s", settings.name, time.monotonic() - began)
    return engine


def _start(settings: EngineSettings) -> tuple[RunningEngine, _Resources]:
    from vllm import AsyncEngineArgs, SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    source = str(resolve_model(settings.model))
    arguments = settings.arguments(source, cpu=current_platform.is_cpu())
    check_known(arguments, [each.name for each in fields(AsyncEngineArgs)])
    _check_deterministic(settings, current_platform)
    folder = tempfile.TemporaryDirectory(prefix="langchain-darwin-engine-")
    before = set(multiprocessing.active_children())
    try:
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**_logging(Path(folder.name)), **arguments))
    except Exception as error:
        said = _errors(Path(folder.name))
        folder.cleanup()
        raise start_failure(error, said, settings.name, arguments) from error
    cores = [each for each in multiprocessing.active_children() if each not in before and each.name.startswith(_CORE)]
    resources = _Resources(llm, folder, cores)

    def make_params(sampling: dict[str, Any], at_once: bool) -> Any:
        kind = RequestOutputKind.DELTA if at_once else RequestOutputKind.FINAL_ONLY
        return SamplingParams(**sampling, output_kind=kind)

    lora = None if settings.lora is None else LoRARequest("adapter", 1, settings.lora)
    return RunningEngine(llm, make_params, lora, source, resources.close), resources


def _check_deterministic(settings: EngineSettings, platform: Any) -> None:
    """Raise unless vLLM has batch-invariant numbers here, if they are asked for."""
    if settings.deterministic and not (platform.is_cuda_alike() and platform.has_device_capability(80)):
        msg = (
            "engine_options={'deterministic': True} needs a GPU of compute capability 8.0 or more: vLLM has no "
            f"batch-invariant numbers on {platform.device_name or 'this device'}; leave it out, or use dtype='float32'"
        )
        raise ConfigurationError(msg)


@contextlib.contextmanager
def _environment(settings: EngineSettings) -> Iterator[None]:
    """Set the variables that the engine's process inherits, where the user has not set them."""
    wanted = {name: value for name, value in _STARTS_WITH.items() if name not in os.environ}
    if settings.deterministic:
        wanted["VLLM_BATCH_INVARIANT"] = "1"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _logging(folder: Path) -> dict[str, Any]:
    """Return arguments that make vLLM write its errors to a file too, unless the user configures its log."""
    if "VLLM_LOGGING_CONFIG_PATH" in os.environ or os.environ.get("VLLM_CONFIGURE_LOGGING") == "0":
        return {}
    from vllm.config.logging import LoggingConfig

    level = os.environ["VLLM_LOGGING_LEVEL"]
    stderr = {"class": "logging.StreamHandler", "formatter": "vllm", "level": level, "stream": "ext://sys.stderr"}
    errors = {"class": "logging.FileHandler", "level": "ERROR", "filename": str(folder / "errors"), "delay": True}
    config = {**_LOG_CONFIG, "handlers": {"stderr": stderr, "errors": errors}}
    config["loggers"]["vllm"] = {**config["loggers"]["vllm"], "level": level}
    (folder / "logging.json").write_text(json.dumps(config))
    return {"logging_config": LoggingConfig(pylogging_config_file=str(folder / "logging.json"))}


def _errors(folder: Path) -> str:
    """Return the errors that vLLM logged."""
    try:
        return (folder / "errors").read_text(errors="replace")
    except OSError:
        return ""
