"""The shortest use: say what a good answer is, and let DARWIN search for one on the embedded model."""

from langchain_darwin import ChatDarwin, Darwin


def concise(_messages, responses):
    return [-abs(len(response.text.split()) - 30) for response in responses]  # 30 words are best


model = ChatDarwin(reward=concise, search=Darwin(beams=4), max_tokens=80, seed=7)
answer = model.invoke("Why is the sky blue?")
print(answer.text)
print(answer.response_metadata["darwin"])
