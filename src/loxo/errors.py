"""The exception for errors that users can correct. Its message names the file, the fault and the way out."""


class LoxoError(Exception):
    """An error in the input: a file, an option or a table. The message has whole sentences."""
