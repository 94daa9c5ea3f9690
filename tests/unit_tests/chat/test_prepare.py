"""From settings to a task: variables of the chat template reach every prompt; a prepared call has decoded nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from langchain_darwin import BestOfN, ChatDarwin
from langchain_darwin.chat.prepare import prepare
from langchain_darwin.chat.settings.call import CallSettings
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.testing import ScriptedPolicy, keyword_reward
from tests.tiny_models import cached_tiny_model

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if enable_thinking is false %}quick{% else %}slow{% endif %} assistant:"
)


@pytest.fixture(scope="module")
def switching(tmp_path_factory):
    """The folder of a model whose template reads a variable."""
    folder = tmp_path_factory.mktemp("models") / "switching"
    shutil.copytree(cached_tiny_model("llama"), folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    return folder


def prompt(model, **call):
    made = prepare(
        CallSettings.resolve(model, None, call), model._convert_input("hi").to_messages(), None, blocking=True
    )
    return model.policy_of(model.model)[0].codec.decode(made.runner.task.prompt)


def test_variables_of_the_template_of_model_and_call_reach_the_prompt(switching):
    fields = {"model": str(switching), "reward": keyword_reward("sea"), "search": BestOfN(n=1), "max_tokens": 4}
    model, off = ChatDarwin(**fields), {"enable_thinking": False}
    assert prompt(model).endswith("slow assistant:")
    assert prompt(ChatDarwin(**fields, chat_template_kwargs=off)).endswith("quick assistant:")
    assert prompt(model.bind(chat_template_kwargs=off)).endswith("quick assistant:")
    assert prompt(model, chat_template_kwargs=off).endswith("quick assistant:")
    assert model.invoke("hi", chat_template_kwargs=off).response_metadata["darwin"]["complete"]
    with pytest.raises(InvalidRequestError, match="'tools' is no variable of a chat template"):
        model.invoke("hi", chat_template_kwargs={"tools": []})


def test_a_prepared_call_has_decoded_nothing():
    class Silent(ScriptedPolicy):
        def submit(self, jobs, on_tokens=None):
            raise AssertionError("nothing has been asked yet")

    model = ChatDarwin(model=Silent(), reward=keyword_reward("sea"), seed=3)
    made = prepare(CallSettings.resolve(model, None, {}), model._convert_input("hi").to_messages(), None, blocking=True)
    assert (made.runner.task.seed, made.runner.task.instruction, made.outcome) == (3, "hi", None)
