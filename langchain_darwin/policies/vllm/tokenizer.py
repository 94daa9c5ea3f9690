"""Tokenizer and chat template of a model that runs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError, first_line
from langchain_darwin.inference.chat_codec import ChatCodec, response_end_ids
from langchain_darwin.inference.checkpoints.model_files import model_folder


def load_codec(model: str, root: str, tokenizer: str | None, revision: str | None = None) -> ChatCodec:
    """Return the codec of a served model, from files on this machine or the Hugging Face hub.

    No code of the model is run.

    Args:
        model: The served name.
        root: What the server has loaded: a folder over there, or a hub id.
        tokenizer: Folder or hub id to use in any case. None tries the root if there is such a folder here too, then
            served name and root as folders or hub ids.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelNotFound: There are no such files.
        UnsupportedModelError: They cannot be read, or have no chat template.
    """
    tried: dict[str, Exception] = {}
    for source in [tokenizer] if tokenizer else dict.fromkeys(_sources(model, root)):
        try:
            return _load(source, revision)
        except ModelNotFound as error:
            tried[source] = error
    said = "; ".join(f"{source!r}: {first_line(error)}" for source, error in tried.items())
    msg = (
        f"no tokenizer for the served model {model!r} (there it is {root!r}); pass tokenizer= with the hub id of the "
        f"model, or a folder that holds its tokenizer. Tried {said or 'nothing: neither is a folder or a hub id here'}"
    )
    raise ModelNotFound(msg)


def _sources(model: str, root: str) -> Iterator[str]:
    """Folders and hub ids to try, files on this machine first."""
    for name in (root, model):
        if name and model_folder(name) is not None:
            yield name
    for name in (model, root):
        if name.count("/") == 1 and not name.startswith((".", "~", "/")):
            yield name


def _load(source: str, revision: str | None) -> ChatCodec:
    from langchain_darwin.inference.checkpoints.pretrained import Pretrained

    folder = Path(source).expanduser()
    source = str(folder.resolve()) if folder.is_dir() else source
    files = Pretrained(source, f"tokenizer={source!r}", revision)
    tokenizer = files.tokenizer()
    if not tokenizer.chat_template:
        msg = f"tokenizer={source!r} has no chat template; use the files of an instruct model"
        raise UnsupportedModelError(msg)
    return ChatCodec(tokenizer, response_end_ids(tokenizer, _stated_end(source, revision, files)))


def _stated_end(source: str, revision: str | None, files: Any) -> Any:
    """End ids of the generation config, else of the model's config; None where there is neither."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(source, revision=revision or "main").eos_token_id
    except OSError:
        pass
    try:
        return getattr(files.config().get_text_config(decoder=True), "eos_token_id", None)
    except (ModelNotFound, UnsupportedModelError):
        return None
