"""The commands that the app runs: their options as a form, their arguments from a form, and the line to copy.

The options come from the commands themselves, so that a form has the same words, the same defaults and the same checks
as the terminal. A request names options, never a command line: nothing else can be started.

Failure policy: an unknown command or option, a path outside the places of the app (folders.py), and whatever the
command itself refuses, raise a LoxoError before the job starts.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from loxo.app.folders import Places
from loxo.audio.storage import is_url
from loxo.errors import LoxoError
from loxo.files import escape

# Options whose value is a path, besides those whose type says so
PATHS = {
    "detect": {"paths", "out"},
    "decode": {"out", "recordings"},
    "report": {"recordings"},
    "review": {"recordings"},
    "evaluate": set(),
    "calibrate": {"recordings"},
    "adapt": {"tables", "recordings"},
}
MODEL = "model"  # a path only where it has folders: else the name of a bundled model
LONG_COMMANDS = {"detect", "adapt"}  # jobs that wait for each other
HIDDEN = {"help", "version", "port", "browser", "host", "reviewer", "sample"}
HIDDEN |= {"password_file", "certificate", "key", "self_signed"}

# The presets of a survey: an option that is not named has the default of the command.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"window_overlap": 0},
    "survey": {"keep_scores": True},
    "doubtful": {"keep_scores": True, "threshold": "0.05"},
}


class Commands:
    """`group` is the click group of `loxo`, which lies above this room."""

    def __init__(self, group: Any, places: Places) -> None:
        self.group, self.places = group, places

    def form(self, name: str) -> list[dict[str, Any]]:
        """The options of a command: name, flag, help, kind (flag, number, text), default, panel, whether it is a path,
        whether it may be repeated."""
        fields = []
        for option in self._options(name).values():
            is_flag = bool(getattr(option, "is_flag", False))
            numeric = any(kind in option.type.name for kind in ("int", "float"))
            default = option.default if isinstance(option.default, str | int | float | bool) else None
            fields.append(
                {
                    "name": option.name,
                    "flag": next((text for text in option.opts if text.startswith("--")), None),
                    "help": getattr(option, "help", None) or "",
                    "kind": "flag" if is_flag else "number" if numeric else "text",
                    "min": getattr(option.type, "min", None) if numeric else None,
                    "max": getattr(option.type, "max", None) if numeric else None,
                    "step": 1 if "int" in option.type.name else "any",
                    "default": default,
                    "panel": getattr(option, "rich_help_panel", None) or "Options",
                    "is_path": self._is_path(name, option),
                    "repeats": bool(option.multiple or option.nargs == -1),
                }
            )
        return fields

    def arguments(self, name: str, values: Mapping[str, Any]) -> list[str]:
        """The arguments of `loxo` for the values of a form. Raises LoxoError as the module says."""
        options = self._options(name)
        unknown = sorted(set(values) - set(options))
        if unknown:
            raise LoxoError(f"loxo {name} has no option {unknown[0]}.")
        positional: list[str] = []
        flags: list[str] = []
        for field, option in options.items():
            value = values.get(field)
            if value is None or value == "" or value is False or value == []:
                continue
            texts = [str(each) for each in (value if isinstance(value, list) else [value])]
            if self._is_path(name, option):
                for text in texts:
                    self._check_path(text, field)
            flag = next((text for text in option.opts if text.startswith("--")), None)
            if flag is None:
                positional += texts
            elif getattr(option, "is_flag", False):
                flags.append(flag)
            elif str(option.default) != str(value):
                for text in texts:  # with "=", a value that begins with a dash is no option
                    flags += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
        if any(text.startswith("-") for text in positional):
            raise LoxoError("A path must not begin with a dash.")
        if name == "review" and "--export" not in flags:
            raise LoxoError(f"The app does not run loxo {name}.")
        arguments = [name, *positional, *flags]
        self._parse(name, arguments[1:])
        return arguments

    def _check_path(self, text: str, field: str) -> None:
        if is_url(text) or (field == MODEL and not any(sign in text for sign in "/\\")):
            return
        self.places.check(text)

    def _parse(self, name: str, arguments: list[str]) -> None:
        """Raises LoxoError for whatever the command line of the command refuses."""
        try:
            with self._command(name).make_context(name, list(arguments)):
                pass
        except Exception as error:
            message = getattr(error, "format_message", None)
            if message is None:
                raise
            raise LoxoError(escape(str(message()))) from error

    def _options(self, name: str) -> dict[str, Any]:
        return {option.name: option for option in self._command(name).params if option.name not in HIDDEN}

    def _command(self, name: str) -> Any:
        if name not in PATHS:
            raise LoxoError(f"The app does not run loxo {escape(name)}.")
        return self.group.commands[name]

    @staticmethod
    def _is_path(name: str, option: Any) -> bool:
        return option.type.name in ("path", "file", "directory") or option.name in PATHS[name] | {MODEL}


def line(arguments: list[str]) -> str:
    """The command line that does the same, for this system's terminal."""
    words = ["loxo", *arguments]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def default_out(name: str) -> str:
    """The folder of a new run in the user's home folder."""
    return os.path.join(os.path.expanduser("~"), "Loxo", name)  # noqa: PTH111, PTH118 (text)
