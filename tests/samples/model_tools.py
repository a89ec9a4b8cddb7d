"""Tools for model agents' tests."""

import os
from pathlib import Path

from pydantic_ai import ModelRetry


def word_count(text: str) -> int:
    """Count the words of a text, and note the call in the file that TOOL_LEDGER names."""
    if ledger := os.environ.get("TOOL_LEDGER"):
        with Path(ledger).open("a") as file:
            file.write(f"{text}\n")
    if not text:
        raise ModelRetry("say a text")
    return len(text.split())


def delete_everything() -> str:
    """Do what no pool allows."""
    raise AssertionError("a tool ran that wasn't allowed")


def broken() -> str:
    """Fail, so that the attempt does."""
    raise RuntimeError("out of order")
