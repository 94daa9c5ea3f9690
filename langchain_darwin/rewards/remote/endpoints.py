"""What reward servers are sent, and where the scores are in what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from langchain_darwin.rewards.transcript import content, transcript, turns

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage


class Endpoint(Protocol):
    """What is sent to a server, and where the scores are in what it answers. A frozen dataclass of plain data."""

    @property
    def path(self) -> str:
        """Added to the reward's URL."""
        ...

    def bodies(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[Any]:
        """JSON to post: one request, or several that are answered side by side."""
        ...

    def scores(self, answer: Any, asked: int) -> list[float]:
        """The scores in the answer to one request about `asked` responses. What it raises is reported."""
        ...


@dataclass(frozen=True)
class Classify:
    """vLLM's `/classify` and `/pooling` with chat messages: the server applies the model's chat template.

    One request per answer; the server batches them. A vLLM too old to take messages at `/classify` may take them at
    `/pooling`.

    Attributes:
        model: The served name.
        label: Which number of the output is the score; -1 is the last, and the only one of reward models.
        options: Other members of the request. `use_activation=False` asks for scores before sigmoid or softmax,
            which are near 1 for all good answers.
        path: "/classify", or "/pooling" for models that are served for that.
    """

    model: str
    label: int = -1
    options: Mapping[str, Any] = field(default_factory=lambda: {"use_activation": False}, hash=False)
    path: str = "/classify"

    def bodies(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[Any]:
        """One request per response."""
        history = turns(messages)
        return [
            {"model": self.model, "messages": [*history, *turns([response])], **self.options} for response in responses
        ]

    def scores(self, answer: Any, asked: int) -> list[float]:
        """The number in the only item of `data`."""
        del asked
        (item,) = answer["data"]
        output = item["probs"] if "probs" in item else item["data"]
        while isinstance(output, list) and output and isinstance(output[-1], list):
            output = output[-1]  # one row per token: the last
        return [output[self.label] if isinstance(output, list) else output]


@dataclass(frozen=True)
class Pairs:
    """vLLM's `/score`: the conversation as the query, the answers as documents, all in one request.

    Attributes:
        model: The served name.
        path: "/score" or "/v1/score".
    """

    model: str
    path: str = "/score"

    def bodies(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[Any]:
        """One request for all responses."""
        texts = [content(response) for response in responses]
        return [{"model": self.model, "text_1": transcript(messages), "text_2": texts}]

    def scores(self, answer: Any, asked: int) -> list[float]:
        """The scores by index."""
        by_index = {item["index"]: item["score"] for item in answer["data"]}
        return [by_index[at] for at in range(asked)]


@dataclass(frozen=True)
class Json:
    """Any endpoint that takes one answer as JSON and gives back JSON with a number in it.

    Attributes:
        body: What to post. Texts in it that are "$conversation", "$messages" or "$answer" are replaced by what they
            name. The conversation comes as text. The messages come as a list of role and content, without the answer.
        score: Where the number is: keys and indices with dots between them, such as "data.0.score".
        path: Added to the reward's URL.
    """

    body: Mapping[str, Any] = field(hash=False)
    score: str
    path: str = ""

    def bodies(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[Any]:
        """One request per response."""
        shared = {"$conversation": transcript(messages), "$messages": turns(messages)}
        return [_filled(self.body, {**shared, "$answer": content(response)}) for response in responses]

    def scores(self, answer: Any, asked: int) -> list[float]:
        """The number at `score`."""
        del asked
        for key in self.score.split("."):
            answer = answer[int(key)] if isinstance(answer, list) else answer[key]
        return [answer]


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with texts that are names of `values` replaced by them."""
    if isinstance(template, str):
        return values.get(template, template)
    if isinstance(template, Mapping):
        return {key: _filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [_filled(value, values) for value in template]
    return template
