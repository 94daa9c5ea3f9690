"""IFEval's verifiers as rewards: instructions that a program can check (Zhou et al., arXiv 2311.07911).

The verifiers are those of the package `if-verifiable`, applied as its strict scores are. They judge the whole text
without white space around it, and an empty text follows nothing. Two verdicts that the package leaves to chance are
fixed here. Languages are detected with a fixed seed. A character to be counted that is no letter is counted itself,
not a random letter in its place. (A prompt of IFEval asks for "!".) Two verifiers divide text into sentences or
words with NLTK's `punkt_tab`, which NLTK downloads separately.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from langchain_darwin.errors import ConfigurationError, MissingDependencyError
from langchain_darwin.evaluation.datasets.prompts import Prompt, digest_of

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

# The language detector loads its profiles when first used, without a lock of its own.
_LOADING = threading.Lock()


class _Checker(Protocol):
    """One instruction with its arguments, as `if-verifiable` has it; `check_following` is safe in any thread."""

    def build_description(self, **kwargs: Any) -> str: ...
    def get_instruction_args(self) -> dict[str, Any] | None: ...
    def get_instruction_args_keys(self) -> list[str]: ...
    def check_following(self, value: str) -> bool: ...


@dataclass(frozen=True)
class _Verifiers:
    """The part that both rewards share: verifiers by prompt.

    The prompt is found by the texts of the human messages; other messages play no part. The verifiers are
    loaded and all of their arguments checked when the first text is judged.
    """

    prompts: Iterable[Prompt]

    def __post_init__(self) -> None:
        """Refuse prompts without instructions, and prompts of one text with different instructions."""
        object.__setattr__(self, "prompts", tuple(self.prompts))
        seen: dict[tuple[str, ...], Prompt] = {}
        for prompt in self.prompts:
            if "instruction_id_list" not in prompt.data:
                msg = f"prompt {prompt.key!r} has no instruction_id_list; give prompts in IFEval's format"
                raise ConfigurationError(msg)
            other = seen.setdefault(_stripped(prompt.turns), prompt)
            if _instructions(other) != _instructions(prompt):
                msg = f"prompts {other.key!r} and {prompt.key!r} have one text and different instructions"
                raise ConfigurationError(f"{msg}; leave one of them out")

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One score per response, in [0, 1].

        Raises:
            ConfigurationError: The conversation is none of the prompts, or a prompt's instructions have no verifier.
            MissingDependencyError: `if-verifiable` or NLTK's data are not there.
        """
        return [self._score(self.followed(messages, response)) for response in responses]

    def followed(self, messages: Sequence[BaseMessage], response: AIMessage) -> tuple[bool, ...]:
        """Return True or False for each instruction, in the order of the prompt's `instruction_id_list`."""
        checkers = self._checkers_of(messages)
        text = response.text.strip()
        return tuple(bool(text) and bool(checker.check_following(text)) for checker in checkers)

    def identity(self) -> dict[str, Any]:
        """For cache keys: the reward's name and the digest of its prompts."""
        return {"reward": type(self).__qualname__, "prompts": digest_of(self.prompts)}

    @abstractmethod
    def _score(self, followed: tuple[bool, ...]) -> float: ...

    def _checkers_of(self, messages: Sequence[BaseMessage]) -> tuple[_Checker, ...]:
        asked = _stripped(message.text for message in messages if message.type == "human")
        if asked not in self._checkers:
            msg = f"{' / '.join(asked)[:80]!r} is none of the {len(self._checkers)} prompts that can be verified"
            raise ConfigurationError(f"{msg}; ask one of them word for word, or judge with another reward")
        return self._checkers[asked]

    @cached_property
    def _checkers(self) -> dict[tuple[str, ...], tuple[_Checker, ...]]:
        with _LOADING:
            registry = _registry()
            checkers = {_stripped(prompt.turns): tuple(_built(prompt, registry)) for prompt in self.prompts}
            _try_each_kind(checker for several in checkers.values() for checker in several)
        return checkers


class StrictAccuracy(_Verifiers):
    """1 if every instruction of the prompt is followed, else 0: IFEval's prompt-level strict accuracy.

    Judges finished texts only.

    Attributes:
        prompts: IFEval's, such as `load_prompts("ifeval=FILE")`.
    """

    partial: ClassVar[bool] = False

    def _score(self, followed: tuple[bool, ...]) -> float:
        return float(all(followed))


class PartialScore(_Verifiers):
    """Share of the prompt's instructions that are followed, in [0, 1].

    Unfinished text is judged as if it ended there. So an instruction that only the end decides counts as not
    followed for a long time: a closing phrase, a least number of words. An instruction that can only be broken
    counts as followed from the start: no commas, at most so many sentences. Compare unfinished texts of about one
    length.

    Attributes:
        prompts: IFEval's, such as `load_prompts("ifeval=FILE")`.
    """

    partial: ClassVar[bool] = True

    def _score(self, followed: tuple[bool, ...]) -> float:
        return sum(followed) / len(followed)


def _stripped(texts: Any) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts)


def _instructions(prompt: Prompt) -> list[tuple[str, Mapping[str, Any]]]:
    return list(zip(prompt.data["instruction_id_list"], prompt.data["kwargs"], strict=True))


def _registry() -> Mapping[str, type[Any]]:
    try:
        import langdetect
        from if_verifiable.ifeval import INSTRUCTION_DICT
    except ImportError as error:
        msg = f"IFEval's verifiers need if-verifiable ({error}): pip install 'langchain-darwin[eval]'"
        raise MissingDependencyError(msg) from None
    if langdetect.DetectorFactory.seed is None:  # without one, the language of a text is a matter of chance
        langdetect.DetectorFactory.seed = 0
    registry: Mapping[str, type[Any]] = INSTRUCTION_DICT
    return registry


def _built(prompt: Prompt, registry: Mapping[str, type[Any]]) -> Iterator[_Checker]:
    for name, kwargs in _instructions(prompt):
        if name not in registry:
            known = ", ".join(sorted(registry))
            raise ConfigurationError(f"prompt {prompt.key!r}: {name!r} has no verifier; there are {known}")
        try:
            yield _checker(registry[name](name), kwargs)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"prompt {prompt.key!r}: {name} with {dict(kwargs)}: {error}") from None


def _checker(checker: Any, kwargs: Mapping[str, Any]) -> _Checker:
    """The instruction with its arguments; those it does not take, the verifier would have drawn at random."""
    if missing := [name for name in checker.get_instruction_args_keys() if name not in kwargs]:
        raise ValueError(f"{', '.join(missing)} must be given")
    checker.build_description(**kwargs)
    taken = checker.get_instruction_args() or {}
    for name, value in kwargs.items():
        if name == "letter" and len(value) == 1:
            checker._letter = value.lower()  # noqa: SLF001  (it counts any character, but takes only a to z)
        elif _plain(taken[name]) != _plain(value):
            raise ValueError(f"{name}={value!r} is out of range")
    built: _Checker = checker
    return built


def _plain(value: Any) -> Any:
    """An argument as verifiers keep it: some in lower case, without white space around it, or in another order."""
    if isinstance(value, str):
        return value.strip().lower()
    return sorted(value) if isinstance(value, list) else value


def _try_each_kind(checkers: Iterator[_Checker]) -> None:
    """Load what the verifiers read from files, so that nothing is found missing later."""
    for checker in {type(checker): checker for checker in checkers}.values():
        try:
            checker.check_following("One sentence. And another.")
        except LookupError:
            msg = f"IFEval's {type(checker).__name__} needs NLTK's punkt_tab: python -m nltk.downloader punkt_tab"
            raise MissingDependencyError(msg) from None
