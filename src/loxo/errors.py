"""The exception for errors that users can correct. Its message names the file, the fault and the way out."""

import os


class LoxoError(Exception):
    """An error in the input: a file, an option or a table. The message has whole sentences."""


def with_path(path: str | os.PathLike[str], sentence: str) -> str:
    """The sentence with the path in front, where it does not begin with it."""
    return sentence if sentence.startswith(f"{path}: ") else f"{path}: {sentence}"
