"""Values of settings: the types that a constructor field, `bind` and a call accept alike.

Each check takes the setting's name and value and returns the value as a built-in type. Ranges are checked where the
values are used: by `Sampling`, `Budget` and the searches.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable

from langchain_darwin.errors import ConfigurationError


def number(name: str, value: Any) -> float:
    """A finite number as a float; a text that spells one counts, a bool does not."""
    try:
        made = math.nan if _no_scalar(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        made = math.nan
    return made if math.isfinite(made) else _refuse(name, value, "must be a finite number")


def whole(name: str, value: Any) -> int:
    """A whole number of 64 bits as an int; 3.0 and "3" count, 3.5 and bools do not."""
    try:
        made = None if _no_scalar(value) else _whole(value)
    except (TypeError, ValueError, OverflowError):
        made = None
    if made is None or not -(2**63) <= made < 2**63:  # more than what checkpoints and policies hold
        _refuse(name, value, "must be a whole number of at most 64 bits")
    return made


def _whole(value: Any) -> int | None:
    if hasattr(value, "__index__") and not isinstance(value, float):
        return operator.index(value)
    if isinstance(value, str):
        return int(value)
    made = float(value)
    return int(made) if made.is_integer() else None


def flag(name: str, value: Any) -> bool:
    """True or False, numpy's included."""
    if isinstance(value, bool) or _is_bool_scalar(value):
        return bool(value)
    return _refuse(name, value, "must be True or False")


def strings(name: str, value: Any) -> list[str]:
    """Texts as a list of str; one text alone counts as a list of it."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray | memoryview):
        _refuse(name, value, 'must be a text or a list of texts, such as ["\\n\\n"]')
    if wrong := [item for item in given if not isinstance(item, str)]:
        _refuse(name, value, f"holds {wrong[0]!r}; every item must be a text")
    if "" in given:
        _refuse(name, value, "holds an empty string, which would end every response; remove it")
    return [str.__str__(text) for text in given]


def model(name: str, value: Any) -> Any:
    """Return what names a model, or is a policy."""
    if isinstance(value, str | Path) and str(value):
        return value
    if not isinstance(value, type) and _offers(value, "submit") and _offers(value, "identity"):
        return value
    takes = (
        f"{name}= takes the Hub id or folder of a causal chat model, 'vllm+http://host:8000/served-name', "
        "a Policy, or None for the embedded model"
    )
    if isinstance(value, BaseLanguageModel | Runnable):
        kind = f"{name}={type(value).__name__}(...) is a LangChain model or chain, whose tokens no search can steer"
        raise ConfigurationError(f"{kind}; {takes}. As a judge of answers it goes into reward=")
    if isinstance(value, type):
        raise ConfigurationError(f"{name}={value.__name__} is a class; pass an instance. {takes}")
    return _refuse(name, value, f"is not a model; {takes}")


def search(name: str, value: Any) -> Any:
    """An instance with a method `run(task)`."""
    if isinstance(value, type) or not _offers(value, "run") or isinstance(value, Runnable):
        _refuse(name, value, "is not a search; pass an instance, such as Darwin() or BestOfN(n=5)")
    return value


def dtype(name: str, value: Any) -> str:
    """The name of a floating-point type; torch's own objects count."""
    spelt = str(value).removeprefix("torch.") if type(value).__module__ == "torch" else value
    return spelt if isinstance(spelt, str) else _refuse(name, value, "must be a text such as 'bfloat16', or 'auto'")


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping of names to values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        _refuse(name, value, "must be a dict with texts as keys")
    return dict(value)


def anything(name: str, value: Any) -> Any:
    """Any value: it is checked where it is read."""
    del name
    return value


def short(value: Any) -> str:
    """A value for a message, at most 100 characters."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a value's own code may fail in any way
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 100 else text[:99] + "…"


def _offers(value: Any, method: str) -> bool:
    return callable(getattr(value, method, None))


def _no_scalar(value: Any) -> bool:
    """Return True for bools, bytes, and arrays with dimensions."""
    if isinstance(value, bool | bytes | bytearray) or _is_bool_scalar(value):
        return True
    return bool(getattr(value, "shape", ()))


def _is_bool_scalar(value: Any) -> bool:
    """Return True for a bool of numpy or torch without dimensions."""
    kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return kind == "bool" and not getattr(value, "shape", ())


def _refuse(name: str, value: Any, what: str) -> NoReturn:
    msg = f"{name}={short(value)} {what}"
    raise ConfigurationError(msg)
