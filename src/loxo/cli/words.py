"""The help of commands and the errors of the command line in the language of the user.

typer makes these texts when it shows them. They are translated there, once for all commands, with the catalogues of
loxo.languages. Nothing is translated when a command runs, and nothing is loaded in English.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from loxo.languages import ENGLISH, current, mark, speaking, system_language, text, translated

if TYPE_CHECKING:
    _Base = TyperCommand
else:
    _Base = object

# Constants of typer.rich_utils. The test of the catalogues compares them with those of the installed version.
FRAME = {
    "ARGUMENTS_PANEL_TITLE": mark("Arguments"),
    "OPTIONS_PANEL_TITLE": mark("Options"),
    "COMMANDS_PANEL_TITLE": mark("Commands"),
    "ERRORS_PANEL_TITLE": mark("Error"),
    "DEFAULT_STRING": mark("[default: {}]"),
    "REQUIRED_LONG_STRING": mark("[required]"),
    "RICH_HELP": mark("Try [blue]'{command_path} {help_option}'[/] for help."),
}
USAGE = mark("Usage: ")
SENTENCES = (  # `translated` finds these in the help of all commands, and in the errors of typer
    mark("Example: {command}"),
    mark("Show this message and exit."),
    mark("No such option: {option}"),
    mark("No such option: {option} (Possible options: {options})"),
    mark("No such command {command}."),
    mark("No such command {command}. Did you mean {other}?"),
    mark("Missing argument {argument}."),
    mark("Missing option {option}."),
    mark("Invalid value for {option}: {reason}"),
    mark("{value} is not a valid {kind}."),
    mark("{value} is not in the range {range}."),
    mark("{value} is not one of {choices}."),
    mark("Option {option} requires an argument."),
    mark("Option {option} does not take a value."),
    mark("Got unexpected extra argument(s) ({arguments})"),
)


class _Translated(_Base):
    """A command whose help and usage line are in the language of the system."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with speaking(system_language()):
            if current() != ENGLISH:
                _translate_frame()
                self._translate(ctx)
            super().format_help(ctx, formatter)

    def get_usage(self, ctx: Any) -> str:
        with speaking(system_language()):
            return text(USAGE) + super().get_usage(ctx).removeprefix(USAGE)

    def _translate(self, ctx: Any) -> None:
        for command in (self, *getattr(self, "commands", {}).values()):
            command.help = "\n\n".join(translated(paragraph) for paragraph in paragraphs(command.help))
        for option in self.get_params(ctx):
            for name in ("help", "rich_help_panel"):
                if value := getattr(option, name, None):
                    setattr(option, name, translated(value))


class Command(_Translated, TyperCommand):
    """One command of `loxo`."""


class Group(_Translated, TyperGroup):
    """`loxo` with its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _usage_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors():
            return super().invoke(ctx)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Translates errors of the command line, such as an unknown option."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "format_message", None)
        with speaking(system_language()):
            if message is not None and current() != ENGLISH:
                _translate_frame()
                sentence = translated(message())
                error.format_message = lambda: sentence  # type: ignore[attr-defined]
        raise


def _translate_frame() -> None:
    """Translates headings in the help. The process ends after it, so nothing is restored."""
    from typer import rich_utils

    for name, words in FRAME.items():
        setattr(rich_utils, name, translated(words))


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a help text, each in one line: these are its keys in a catalogue."""
    return [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n")]
