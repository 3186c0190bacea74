"""The one exception a user of Loxo is meant to see: a sentence that names the file, the fault and the way out."""


class LoxoError(Exception):
    """Something is wrong with what was given (a file, an option, a table). The message is one whole sentence."""
