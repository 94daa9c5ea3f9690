"""An agent with a tool: calls are searched for as answers are. Needs `pip install 'langchain-darwin[tools,agents]'`."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, wrap_model_call
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.middleware import SearchMiddleware


@tool
def population(country: str) -> str:
    """How many people live in a country."""
    known = {"norway": "5.6 million", "iceland": "0.4 million"}
    return f"{known.get(country.lower(), 'An unknown number of')} people live in {country}."


@wrap_model_call
def look_it_up_first(request, handler):
    """Small models know neither when to call a tool nor when to stop: first the call, then the answer."""
    looked_up = any(isinstance(message, ToolMessage) for message in request.messages)
    return handler(request.override(tool_choice="none" if looked_up else "population"))


def says_the_number(messages, responses):
    """An answer should say what the tool has said, a call should name the country."""
    number = messages[-1].text.split()[0]
    called = [[call["args"].get("country") for call in response.tool_calls] for response in responses]
    return [float(number in r.text) + names.count("Norway") for r, names in zip(responses, called, strict=True)]


model = ChatDarwin(reward=says_the_number, search=BestOfN(n=6), max_tokens=60, seed=7)
middleware: list[AgentMiddleware[Any, Any, Any]] = [look_it_up_first, SearchMiddleware(step=BestOfN(n=4))]
agent = create_agent(model, [population], middleware=middleware)

if __name__ == "__main__":
    question = "How many people live in Norway?"
    state = agent.invoke({"messages": [HumanMessage(question)]}, {"recursion_limit": 12})
    for message in state["messages"]:
        message.pretty_print()
    for step in state["darwin"]:
        print(step["purpose"], "kept" if step["kept"] else "dropped", step["tokens"])
