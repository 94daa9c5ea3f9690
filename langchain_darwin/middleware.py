"""A search for each step of an agent (`langchain.agents.create_agent`).

    from langchain.agents import create_agent
    from langchain_darwin.middleware import SearchMiddleware

    agent = create_agent(model, tools, middleware=[SearchMiddleware()])

A step that calls a tool seldom profits from a search, the answer that the user reads does. Needs
`pip install 'langchain-darwin[agents]'`.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Generator
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage

from langchain_darwin.chat.hooks.binding import BoundDarwin
from langchain_darwin.chat.plain import plain
from langchain_darwin.chat_models import ChatDarwin
from langchain_darwin.errors import MissingDependencyError
from langchain_darwin.search.base import Search
from langchain_darwin.search.best_of_n import BestOfN

try:
    from langchain.agents import AgentState
    from langchain.agents.middleware import (
        AgentMiddleware,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import OmitFromInput
    from langgraph.constants import TAG_NOSTREAM
    from langgraph.types import Command
except ImportError as error:
    msg = "agents need langchain and langgraph: pip install 'langchain-darwin[agents]'"
    raise MissingDependencyError(msg) from error

_Steps = Generator[ModelRequest[Any], ModelResponse[Any], ModelResponse[Any] | ExtendedModelResponse[Any]]


class SearchState(AgentState[Any]):
    """The agent's state with what its searches found and cost, one entry a model call."""

    darwin: NotRequired[Annotated[list[dict[str, Any]], OmitFromInput, operator.add]]


class SearchMiddleware(AgentMiddleware[SearchState, Any, Any]):
    """Sets the search of each model call of an agent whose model is a `ChatDarwin`.

    Whether a step calls a tool is known only when it is done. So while there are tools, a step is first decoded
    with `step`, which costs one plain answer. If that calls a tool it is kept, else it is dropped and the step is
    searched. Dropped drafts are not streamed. With `choose` there are no drafts.

    The state's `darwin` lists for each model call its `purpose` ("draft", "answer" or "chosen"), whether it was
    `kept`, and the search's facts as in `response_metadata["darwin"]`. LangGraph's `custom` stream has, beside
    the events of the searches, one `{"darwin": {"event": "step", ...}}` as each call begins.

    Args:
        search: For answers; None leaves the model's own.
        step: For drafts.
        choose: Says the search of a step by its request instead; None leaves the model's own.
    """

    state_schema = SearchState

    def __init__(
        self,
        search: Search | None = None,
        *,
        step: Search | None = None,
        choose: Callable[[ModelRequest[Any]], Search | None] | None = None,
    ) -> None:
        super().__init__()
        self.search = search
        self.step = step or BestOfN(n=1)
        self.choose = choose

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Answer with the search of this step."""
        steps = self._steps(request)
        asked = next(steps)
        while True:
            response = handler(asked)
            try:
                asked = steps.send(response)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Answer with the search of this step, without blocking."""
        steps = self._steps(request)
        asked = next(steps)
        while True:
            response = await handler(asked)
            try:
                asked = steps.send(response)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _steps(self, request: ModelRequest[Any]) -> _Steps:
        """Yields what to ask the model and receives its responses; returns what the agent goes on with."""
        if not isinstance(_model(request), ChatDarwin):
            return (yield request)
        if self.choose is not None:
            chosen = yield self._ask(request, self.choose(request), "chosen")
            return _with_facts(chosen, [_facts(chosen, "chosen", kept=True)])
        dropped = []
        if request.tools:
            draft = yield self._ask(_unstreamed(request), self.step, "draft")
            kept = _goes_on(draft)
            facts = _facts(draft, "draft", kept=kept)
            if kept:
                return _with_facts(draft, [facts])
            dropped = [facts]
        answer = yield self._ask(request, self.search, "answer")
        return _with_facts(answer, [*dropped, _facts(answer, "answer", kept=True)])

    def _ask(self, request: ModelRequest[Any], search: Search | None, purpose: str) -> ModelRequest[Any]:
        """The request with a search, which is announced.

        The search is set on a copy of the model. A setting of the request would also reach another provider's model
        that answers in this one's place, as `ModelFallbackMiddleware` has it.
        """
        model: Any = request.model
        name = type(search or _model(request).search).__name__
        request.runtime.stream_writer({"darwin": {"event": "step", "purpose": purpose, "search": name}})
        if search is None:
            return request
        return request.override(model=model.bind(search=search))


def _unstreamed(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with a model whose tokens stay out of LangGraph's `messages` stream."""
    model: Any = request.model
    if not isinstance(model, ChatDarwin):
        return request.override(model=model.with_config(tags=[*model.config.get("tags", []), TAG_NOSTREAM]))
    tags = [*(model.tags or []), TAG_NOSTREAM]
    return request.override(model=model.model_copy(update={"tags": tags}))


def _model(request: ModelRequest[Any]) -> Any:
    """The model of a request, without what is bound to it."""
    model: Any = request.model
    return model.bound if isinstance(model, BoundDarwin) else model


def _goes_on(response: ModelResponse[Any]) -> bool:
    """Return True if the agent's loop goes on after this response: it calls a tool that is not the answer's form."""
    return response.structured_response is None and bool(_message(response).tool_calls)


def _message(response: ModelResponse[Any]) -> AIMessage:
    return next(message for message in response.result if isinstance(message, AIMessage))


def _facts(response: ModelResponse[Any], purpose: str, *, kept: bool) -> dict[str, Any]:
    found = _message(response).response_metadata.get("darwin", {})
    return {"purpose": purpose, "kept": kept, **plain(found)}


def _with_facts(response: ModelResponse[Any], facts: list[dict[str, Any]]) -> ExtendedModelResponse[Any]:
    return ExtendedModelResponse(response, Command(update={"darwin": facts}))


__all__ = ["SearchMiddleware", "SearchState"]
