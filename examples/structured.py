"""Structured output: every answer follows the schema, and the search picks the best of them."""

from langchain_core.output_parsers import JsonOutputParser
from pydantic import BaseModel, Field

from langchain_darwin import BestOfN, ChatDarwin


class Recipe(BaseModel):
    """A recipe."""

    name: str = Field(max_length=40)
    minutes: int = Field(ge=1, le=999)
    ingredients: list[str] = Field(max_length=8)


def quick_and_simple(_messages, responses):
    """Few minutes, and some ingredients but not many. An answer that is no recipe gets the least."""
    return [score(JsonOutputParser().invoke(response)) for response in responses]


def score(recipe):
    return -abs(len(recipe["ingredients"]) - 4) - recipe["minutes"] / 30


model = ChatDarwin(reward=quick_and_simple, search=BestOfN(n=4), max_tokens=150, seed=7)
cook = model.with_structured_output(Recipe)

if __name__ == "__main__":
    print(cook.invoke("A soup with tomatoes, please."))
