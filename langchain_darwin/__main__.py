"""`python -m langchain_darwin` is the command `langchain-darwin`."""

from langchain_darwin.cli import main

main()
