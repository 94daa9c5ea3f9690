"""A retrieval chain: find documents that fit the question, answer from them, and prefer answers that keep to them."""

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from langchain_darwin import BestOfN, ChatDarwin

DOCUMENTS = [
    Document("The lighthouse at Cape Grey was built in 1871 and is 34 metres tall."),
    Document("The ferry to Grey Island leaves at nine in the morning and returns at six in the evening."),
    Document("The harbour museum shows old maps. It is closed on Mondays."),
]
PROMPT = ChatPromptTemplate.from_template("{facts}\n\nAnswer in one sentence from these facts only: {question}")


def words(text):
    return {word.strip(".,?!").lower() for word in text.split()}


def retrieve(question, k=2):
    """The documents that share most words with the question, best first."""
    return sorted(DOCUMENTS, key=lambda document: -len(words(document.page_content) & words(question)))[:k]


def facts(question):
    return "\n".join(document.page_content for document in retrieve(question))


def grounded(messages, responses):
    """The share of an answer's words that the prompt has, too."""
    known = words(messages[-1].text)
    return [len(words(response.text) & known) / max(1, len(words(response.text))) for response in responses]


model = ChatDarwin(reward=grounded, search=BestOfN(n=5), max_tokens=50, seed=7)
chain = {"facts": facts, "question": RunnablePassthrough()} | PROMPT | model | StrOutputParser()

if __name__ == "__main__":
    print(chain.invoke("How tall is the lighthouse at Cape Grey?"))
