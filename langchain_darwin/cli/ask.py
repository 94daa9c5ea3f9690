"""`langchain-darwin ask`: one question, one search, one answer."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_darwin.cli.boundary import Debug, plain_errors, tell_progress
from langchain_darwin.cli.reward_specs import REWARDS, parse_rewards
from langchain_darwin.cli.search_specs import SEARCHES, parse_search

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

_SEARCH_PANEL, _SAMPLING_PANEL, _OUTPUT_PANEL = "The search", "The answers", "Output"
EPILOG = f"Rewards:\n{REWARDS}"


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Hub id or folder of a chat model, or vllm+http://host:port/name of one on a vLLM server. "
            "Default: the embedded SmolLM2-135M.",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    reward: Annotated[
        list[str],
        typer.Option(
            "--reward",
            "-r",
            metavar="REWARD",
            help="What a good answer is: one of those below.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = ["self"],  # noqa: B006
    search: Annotated[
        str,
        typer.Option("--search", "-s", help=f"One of {', '.join(SEARCHES)}.", rich_help_panel=_SEARCH_PANEL),
    ] = "darwin",
    beams: Annotated[
        int | None, typer.Option(help="Texts written at the same time.", rich_help_panel=_SEARCH_PANEL)
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(help="Mutation cycles, one after the other.", rich_help_panel=_SEARCH_PANEL),
    ] = None,
    period: Annotated[
        int | None, typer.Option(help="Tokens between two replacements.", rich_help_panel=_SEARCH_PANEL)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Best beams, which darwin-paper never replaces.", rich_help_panel=_SEARCH_PANEL)
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds until the best answer so far is taken.", rich_help_panel=_SEARCH_PANEL),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", rich_help_panel=_SAMPLING_PANEL)] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=_SAMPLING_PANEL)] = 0.7,
    seed: Annotated[
        int | None,
        typer.Option(help="Same seed, same answer. Default: a new one.", rich_help_panel=_SAMPLING_PANEL),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append a record of the search, for `show`.", rich_help_panel=_OUTPUT_PANEL),
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live", help="Show the search. Default: on a terminal.", rich_help_panel=_OUTPUT_PANEL
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print answer and facts as one line of JSON.", rich_help_panel=_OUTPUT_PANEL),
    ] = False,
    debug: Debug = False,
) -> None:
    """Ask a question and search for the answer that the reward likes best.

    The answer goes to standard output, everything else to standard error.
    """
    with plain_errors(debug=debug):
        chosen = {
            "search": parse_search(search, beams=beams, cycles=cycles, period=period, keep=keep),
            "reward": parse_rewards(reward),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "timeout": timeout,
            "trace": trace,
        }
        text = sys.stdin.read().strip() if question == "-" else question
        messages = [("system", system)] * (system is not None) + [("human", text)]
        tell_progress()
        answer = _invoke(model, messages, live=sys.stderr.isatty() if live is None else live, **chosen)
        _tell_json(answer) if as_json else _tell(answer)


def _invoke(model: str | None, messages: list[Any], *, live: bool, **chosen: Any) -> AIMessage:
    from langchain_darwin.chat_models import ChatDarwin
    from langchain_darwin.live import LiveView
    from langchain_darwin.policies.by_name import policy_named

    policy = policy_named(model)
    view = LiveView(lambda tokens: policy.codec.decode(tokens)) if live else None  # noqa: PLW0108  (loads late)
    with view or contextlib.nullcontext():
        return ChatDarwin(model=policy, on_search_event=view, **chosen).invoke(messages)


def _tell(answer: AIMessage) -> None:
    from langchain_darwin.live.text import printable

    facts = answer.response_metadata["darwin"]
    reward = "not judged" if facts["reward"] is None else f"reward {facts['reward']:.3f}"
    stopped = f", stopped by {facts['stopped']}" if facts["stopped"] else ""
    cost = f"{facts['tokens']['decoded']} tokens, {facts['seconds']:.1f} s"
    typer.echo(printable(answer.text, lines=True) if sys.stdout.isatty() else answer.text)
    typer.echo(f"{reward}, {cost}, seed {facts['seed']}{stopped}", err=True)


def _tell_json(answer: AIMessage) -> None:
    facts = {"answer": answer.text, "usage": answer.usage_metadata, **answer.response_metadata}
    typer.echo(json.dumps(facts, ensure_ascii=False))
