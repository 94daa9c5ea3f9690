"""A stream with progress: what the search does on one channel, what is certain of the answer on the other."""

import asyncio
from typing import Any

from langchain_darwin import ChatDarwin
from langchain_darwin.search import Particles


def varied(_messages, responses):
    """The share of different words."""
    return [len({*response.text.split()}) / max(1, len(response.text.split())) for response in responses]


model = ChatDarwin(reward=varied, search=Particles(n=4, period=8, temperature=0.05), max_tokens=64, seed=7)


async def main(question):
    async for event in model.astream_events(question, version="v2"):
        data: Any = event["data"]
        if event["event"] == "on_custom_event" and data["event"] == "scored":
            rewards = data["rewards"].values()
            print(f"\n[best of {len(rewards)}: {max(rewards):.2f}]", end=" ")
        elif event["event"] == "on_chat_model_stream":
            print(data["chunk"].text, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main("How do bees find their way home?"))
