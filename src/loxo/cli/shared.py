"""Options that several of `loxo detect`, `decode` and `score` have, the choice of thresholds, and the end of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loxo.cli.app import console, errors
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.languages import text, translated

if TYPE_CHECKING:
    from loxo.review.access import Access

MAX_NOTES = 10  # printed at the end of a run
TABLES, THRESHOLDS, COMPUTATION = "Tables", "Thresholds", "Computation"  # headings in the help
OTHERS = "Other computers"

Out = Annotated[
    str,
    typer.Option(
        help="Run folder, or s3://bucket/prefix, for tables, events.csv and run.json. The same command resumes it."
    ),
]
Model = Annotated[str, typer.Option(help="Name of a bundled model, or a model file.")]
Threshold = Annotated[
    str | None,
    typer.Option(
        help="Lowest score of a listed event, 0-1, or by class: rumble=0.3,gunshot=0.6. Low values also list doubtful "
        "events. Default: the model's own thresholds.",
        rich_help_panel=THRESHOLDS,
    ),
]
MaxFpPerHour = Annotated[
    float | None,
    typer.Option(
        help="Choose thresholds so that each class had at most this many false positives an hour on the recordings "
        "where the model was measured.",
        rich_help_panel=THRESHOLDS,
    ),
]
ReviewBudget = Annotated[
    int | None,
    typer.Option(
        help="Choose thresholds so that the run lists about this many false positives in total.",
        rich_help_panel=THRESHOLDS,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        help="Table formats, separated by commas: raven, csv, audacity, kaleidoscope, parquet. events.csv is always "
        "written.",
        rich_help_panel=TABLES,
    ),
]
NamePattern = Annotated[
    str | None,
    typer.Option(
        help="Site and start time in the names of recordings, such as '{site}/%Y%m%d_%H%M%S', or a regular expression "
        "with groups site, date, time. Names of the usual recorders need no pattern.",
        rich_help_panel=TABLES,
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        help="Time zone of the recorders' clocks, such as Africa/Brazzaville, +01:00, WAT, CAT or EAT, where the names "
        "do not contain one.",
        rich_help_panel=TABLES,
    ),
]
Sites = Annotated[
    Path | None,
    typer.Option(
        help="Table of sites (CSV), which is stored in the run folder: site; folder, recorder or pattern; latitude, "
        "longitude, time_zone; start and end of the deployment. See docs/detection.md.",
        rich_help_panel=TABLES,
    ),
]
WindowOverlap = Annotated[
    float,
    typer.Option(
        help="Overlap between consecutive windows, as a fraction.", min=0, max=0.95, rich_help_panel=COMPUTATION
    ),
]
BatchSize = Annotated[int, typer.Option(help="Windows in one batch on a GPU.", min=1, rich_help_panel=COMPUTATION)]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.", rich_help_panel=COMPUTATION)]
Runtime = Annotated[
    str,
    typer.Option(
        help="Library that computes the network: onnxruntime, openvino, torch, or auto (the fastest installed one).",
        rich_help_panel=COMPUTATION,
    ),
]
KeepScores = Annotated[
    bool, typer.Option("--keep-scores", help="Store the frame scores in the run folder, for `loxo decode`.")
]
WorkFolder = Annotated[
    Path | None,
    typer.Option(
        help="With --out s3://...: local folder for files that are not uploaded yet. Default: a folder in your cache.",
        rich_help_panel=COMPUTATION,
    ),
]


PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help="For other computers: a file with the password in its first line, which only you can read. Or set "
        "LOXO_PASSWORD.",
        rich_help_panel=OTHERS,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(help="Certificate of the encrypted connection (PEM), with --key.", rich_help_panel=OTHERS),
]
Key = Annotated[
    Path | None, typer.Option(help="Key of the certificate (PEM), without a passphrase.", rich_help_panel=OTHERS)
]
SelfSigned = Annotated[
    bool,
    typer.Option(
        "--self-signed",
        help="Make a certificate for --host. Browsers warn about it: compare its fingerprint.",
        rich_help_panel=OTHERS,
    ),
]


def print_address(address: str, access: Access | None) -> None:
    """Prints the address of a page, and what a user needs to trust a self-signed certificate."""
    words = text("Open {address} (works once; Ctrl-C stops)", address=address)
    if access is not None:
        words = text("Open {address} with the password (Ctrl-C stops)", address=address)
    console.print(words, highlight=False, soft_wrap=True)
    if access is not None and access.is_self_signed:
        words = text(
            "The certificate is self-signed, so browsers warn about it. Its SHA-256 fingerprint is {fingerprint}.",
            fingerprint=access.fingerprint,
        )
        console.print(words, highlight=False, soft_wrap=True)


def given_threshold(threshold: str | None) -> float | dict[str, float] | None:
    """The value of --threshold. Raises LoxoError for one that is not a number."""
    from loxo.runs.config import by_class

    return None if threshold is None else by_class(threshold, "--threshold")


def thresholds(
    threshold: str | None,
    max_fp_per_hour: float | None,
    review_budget: int | None,
    config: Callable[[], Any],
    hours: Callable[[], float],
) -> float | dict[str, float] | None:
    """The threshold as given, or thresholds chosen from the model's curves, each with a printed sentence.

    `config` returns the model's config and `hours` the length of the recordings; both are called only if needed.
    Raises LoxoError for a threshold that is not a number, for more than one of the three, and as `choose` does.
    """
    from loxo.survey.thresholds import choose

    given = given_threshold(threshold)
    if max_fp_per_hour is None and review_budget is None:
        return given
    if given is not None:
        raise LoxoError("--threshold cannot be combined with --max-fp-per-hour or --review-budget. Give one of them.")
    choice = choose(config(), max_fp_per_hour, review_budget, hours)
    print_sentences(choice.sentences)
    return choice.thresholds


def print_sentences(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        console.print(translated(sentence), highlight=False, soft_wrap=True)


def print_note(sentence: str, style: str | None = None) -> None:
    words = escape(text("note: {sentence}", sentence=translated(sentence)))
    errors.print(words, style=style, highlight=False, soft_wrap=True)


def print_problems(problems: Iterable[str]) -> None:
    for sentence in problems:
        errors.print(
            escape(text("problem: {sentence}", sentence=translated(sentence))),
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )


def log_line(sentence: str) -> None:
    """Prints a sentence of a command that runs for weeks, with the time. A service manager adds its own time."""
    stamp = "" if os.environ.get("JOURNAL_STREAM") else f"{datetime.now():%Y-%m-%d %H:%M:%S} "
    errors.print(escape(f"{stamp}{sentence}"), highlight=False, soft_wrap=True)


def finish(summary: object, problems: Sequence[str], out: object, notes: Sequence[str] = ()) -> None:
    """Prints notes and problems, then the summary with the place of the output; exit code 1 if there are problems."""
    for sentence in notes[:MAX_NOTES]:
        print_note(sentence)
    if len(notes) > MAX_NOTES:
        more = text("run.json contains {n} more notes.", n=len(notes) - MAX_NOTES)
        errors.print(text("note: {sentence}", sentence=more), highlight=False)
    print_problems(problems)
    console.print(escape(text("{summary}: {place}", summary=summary, place=out)), highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
