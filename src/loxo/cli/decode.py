"""`loxo decode`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, progress_bar
from loxo.cli.shared import (
    Format,
    MaxFpPerHour,
    NamePattern,
    Out,
    ReviewBudget,
    Sites,
    Threshold,
    TimeZone,
    WorkFolder,
    finish,
    print_sentences,
    thresholds,
)
from loxo.languages import text

DECODING = "Decoding: one value, or values by class such as rumble=0.5. Default: the run's own"


@app.command()
def decode(
    run: Annotated[Path, typer.Argument(help="Run folder of `loxo detect --keep-scores`.")],
    out: Out,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed",
            help="Fit scores and thresholds to the decisions of the run's review, and copy the decisions. A run "
            "without kept scores lists its events again.",
        ),
    ] = False,
    threshold: Threshold = None,
    max_fp_per_hour: MaxFpPerHour = None,
    review_budget: ReviewBudget = None,
    smooth: Annotated[
        str | None,
        typer.Option(help="Length of the running mean over frame scores, in seconds.", rich_help_panel=DECODING),
    ] = None,
    edge_ratio: Annotated[
        str | None,
        typer.Option(
            help="An event extends while the score is above this fraction of its peak.", rich_help_panel=DECODING
        ),
    ] = None,
    valley_ratio: Annotated[
        str | None,
        typer.Option(
            help="Two peaks are two events if the valley between them is at most this fraction of the lower peak.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    sustain_weight: Annotated[
        str | None,
        typer.Option(
            help="Weight (0-1) of an event's sustained level against its peak in the event score.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    density_penalty: Annotated[
        str | None,
        typer.Option(
            help="Exponent of the penalty on the odds of events with many similar events nearby; 0: no penalty.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    overlap_threshold: Annotated[
        str | None,
        typer.Option(
            help="Lowest probability of two overlapping calls at which one event becomes two; 0: never.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    min_duration: Annotated[
        str | None, typer.Option(help="Duration of the shortest event, in seconds.", rich_help_panel=DECODING)
    ] = None,
    merge_gap: Annotated[
        str | None,
        typer.Option(help="Events less than this many seconds apart are merged.", rich_help_panel=DECODING),
    ] = None,
    recordings: Annotated[
        str | None,
        typer.Option(
            help="Folder or server of the recordings, if this computer does not know it. New events are measured.",
        ),
    ] = None,
    format: Format = "raven",
    name_pattern: NamePattern = None,
    time_zone: TimeZone = None,
    sites: Sites = None,
    work: WorkFolder = None,
) -> None:
    """Decode the kept frame scores of a run again, with other parameters, into another run folder.

    The network is not computed again, so this takes seconds. The old run is not changed. After a review,
    `loxo decode runs/march --reviewed --out runs/march-reviewed` lists the events with scores and thresholds that fit
    the decisions.

    Example: `loxo decode runs/march --threshold 0.3 --smooth rumble=1.6 --out runs/march-0.3`
    """
    from loxo.audio.filenames import Names
    from loxo.runs.config import by_class, read_run_config
    from loxo.survey.redecode import analysed_hours, redecode

    options = {
        "smooth_s": ("--smooth", smooth),
        "edge_ratio": ("--edge-ratio", edge_ratio),
        "valley_ratio": ("--valley-ratio", valley_ratio),
        "sustain_weight": ("--sustain-weight", sustain_weight),
        "density_penalty": ("--density-penalty", density_penalty),
        "overlap_threshold": ("--overlap-threshold", overlap_threshold),
        "min_duration_s": ("--min-duration", min_duration),
        "merge_gap_s": ("--merge-gap", merge_gap),
    }
    changes = {field: by_class(given, option) for field, (option, given) in options.items() if given is not None}
    found, decode_again = None, redecode
    if reviewed:
        from loxo.review.calibrate import decode_reviewed, fit_review

        found = fit_review(run)
        print_sentences(found.sentences())
        decode_again = partial(decode_reviewed, fits=found)

    def config() -> Any:
        own = read_run_config(run)[0]
        return found.applied(own) if found else own

    chosen = thresholds(threshold, max_fp_per_hour, review_budget, config, lambda: analysed_hours(run))
    with progress_bar(text("decoding")) as (bar, task):

        def on_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=text("{n}/{total} recordings", n=done, total=total))

        summary = decode_again(
            run,
            out,
            threshold=chosen,
            changes=changes,
            formats=format,
            recordings=recordings,
            names=Names(name_pattern, time_zone) if name_pattern or time_zone else None,
            sites=sites,
            work=work,
            on_progress=on_progress,
        )
    unread = found.warnings if found else []
    finish(summary, [*unread, *(sentence for _, sentence in summary.problems)], out, summary.notes)
