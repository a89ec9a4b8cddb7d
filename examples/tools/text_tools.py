from pathlib import Path


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


def forget(path: str) -> None:
    """Remove a file."""
    Path(path).unlink()
