"""`langchain-darwin model-path`: where the embedded model lies."""

from __future__ import annotations

import typer

from langchain_darwin.cli.boundary import Debug, plain_errors, tell_progress


def model_path(debug: Debug = False) -> None:
    """Print the folder of the embedded model (config, safetensors, tokenizer), converting it if need be."""
    with plain_errors(debug=debug):
        from langchain_darwin.inference.embedded_model import embedded_model_path

        tell_progress()
        typer.echo(embedded_model_path())
