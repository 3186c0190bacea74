"""`loxo detect`: a search, a run decoded again (--from-scores), or scores for another detector's events (--only)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, console, errors, progress_bar
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.machine import quick_imports, usable_cores

TABLES, THRESHOLDS, AGAIN, WORK = "Tables", "Thresholds", "Kept scores", "The work"


@app.command()
def detect(
    out: Annotated[
        str,
        typer.Option(
            help="Run folder, or s3://bucket/prefix: tables, events.csv, run.json. The same command resumes it."
        ),
    ],
    paths: Annotated[
        list[str] | None, typer.Argument(help="Recordings, folders, patterns, lists (.txt), s3:// and https:// URLs.")
    ] = None,
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    threshold: Annotated[
        str | None,
        typer.Option(
            help="List events that score at least this, 0-1, or by class: rumble=0.3,gunshot=0.6. Low values list the "
            "doubtful too.",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    max_fp_per_hour: Annotated[
        float | None,
        typer.Option(
            help="Choose the thresholds so that each class had at most so many false positives an hour where the model "
            "was measured.",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    review_budget: Annotated[
        int | None,
        typer.Option(
            help="Choose the thresholds so that about so many false positives are to be looked through in all.",
            rich_help_panel=THRESHOLDS,
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help="raven, csv, audacity, kaleidoscope, parquet; several with commas. events.csv is always written.",
            rich_help_panel=TABLES,
        ),
    ] = "raven",
    name_pattern: Annotated[
        str | None,
        typer.Option(
            help="How names of recordings tell site and start, such as '{site}/%Y%m%d_%H%M%S'; or a regular expression "
            "with groups site, date, time. Without it the usual recorders' names are known.",
            rich_help_panel=TABLES,
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            help="Zone of the recorders' clocks, such as Africa/Brazzaville, where names do not tell it.",
            rich_help_panel=TABLES,
        ),
    ] = None,
    keep_scores: Annotated[
        bool, typer.Option("--keep-scores", help="Store the frame scores in the run folder.", rich_help_panel=AGAIN)
    ] = False,
    from_scores: Annotated[
        Path | None,
        typer.Option(
            help="Decode the kept scores of this run again, into another folder, instead of searching.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    smooth: Annotated[
        str | None,
        typer.Option(help="With --from-scores: seconds of smoothing, or by class.", rich_help_panel=AGAIN),
    ] = None,
    edge: Annotated[
        str | None,
        typer.Option(help="With --from-scores: share of its peak to which an event reaches.", rich_help_panel=AGAIN),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="With --from-scores: two peaks are two events over a valley this deep.", rich_help_panel=AGAIN
        ),
    ] = None,
    lasting: Annotated[
        str | None,
        typer.Option(
            help="With --from-scores: how much it counts in an event's score, beside its peak, how long that lasts.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    crowd: Annotated[
        str | None,
        typer.Option(
            help="With --from-scores: how much it counts against an event that many like it come within minutes.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    overlapping: Annotated[
        str | None,
        typer.Option(
            help="With --from-scores: least probability of two calls at once that makes two events of one; 0: never.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    min_duration: Annotated[
        str | None, typer.Option(help="With --from-scores: shortest event, in seconds.", rich_help_panel=AGAIN)
    ] = None,
    merge_gap: Annotated[
        str | None,
        typer.Option(
            help="With --from-scores: events closer than this, in seconds, become one.", rich_help_panel=AGAIN
        ),
    ] = None,
    only: Annotated[
        Path | None,
        typer.Option(help="Score the events of this table (Raven, CSV) of another detector instead of searching."),
    ] = None,
    overlap: Annotated[
        float,
        typer.Option(help="Share of a window that the next one sees again.", min=0, max=0.95, rich_help_panel=WORK),
    ] = WINDOW_OVERLAP,
    batch_size: Annotated[
        int, typer.Option(help="Windows that go through a GPU at once.", min=1, rich_help_panel=WORK)
    ] = 8,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.", min=0, rich_help_panel=WORK)] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="A Dask scheduler's address, or local:N, in place of own processes. See docs/cluster.md.",
            rich_help_panel=WORK,
        ),
    ] = None,
    shard_minutes: Annotated[
        float,
        typer.Option(
            help="Long recordings are shared out, and resumed, in pieces of this length.",
            min=0.1,
            rich_help_panel=WORK,
        ),
    ] = 60.0,
    patience_minutes: Annotated[
        float,
        typer.Option(
            help="A worker that tells nothing for so long is given up; its work is done by another.",
            min=0.1,
            rich_help_panel=WORK,
        ),
    ] = 10.0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.", rich_help_panel=WORK)] = "cpu",
    runtime: Annotated[
        str,
        typer.Option(
            help="What computes the network: torch, openvino (faster), or auto: openvino where it is installed.",
            rich_help_panel=WORK,
        ),
    ] = "torch",
    work: Annotated[
        Path | None,
        typer.Option(
            help="With --out s3://...: the folder on this computer for what is not put there yet. By default one in "
            "your cache.",
            rich_help_panel=WORK,
        ),
    ] = None,
) -> None:
    """Find rumbles and gunshots in recordings of any length, rate and number.

    Recordings that cannot be read, or not whole, are named at the end and make the exit code 1.

    Example: `loxo detect sd_card/ --out runs/march`

    Decode kept scores again: `loxo detect --from-scores runs/march --threshold 0.3 --out runs/march-0.3`

    Score another detector's events: `loxo detect sd_card/ --only theirs.txt --out runs/theirs`
    """
    from loxo.audio.filenames import Names
    from loxo.errors import LoxoError
    from loxo.runs.config import by_class
    from loxo.survey.thresholds import choose, hours_in

    given: Any = None if threshold is None else by_class(threshold, "--threshold")
    chosen = max_fp_per_hour is not None or review_budget is not None
    options = {
        "smooth_s": ("--smooth", smooth),
        "edge_ratio": ("--edge", edge),
        "valley_ratio": ("--split", split),
        "sustain_weight": ("--lasting", lasting),
        "density_penalty": ("--crowd", crowd),
        "overlap_threshold": ("--overlapping", overlapping),
        "min_duration_s": ("--min-duration", min_duration),
        "merge_gap_s": ("--merge-gap", merge_gap),
    }
    changes = {field: by_class(text, option) for field, (option, text) in options.items() if text is not None}
    if from_scores is not None and (paths or only is not None):
        raise LoxoError("--from-scores takes the recordings of its run: give no paths and no --only with it.")
    if changes and from_scores is None:
        these = [option for option, _ in options.values()]
        raise LoxoError(f"{', '.join(these[:-1])} and {these[-1]} go with --from-scores RUN.")
    if only is not None and (chosen or given is not None):
        raise LoxoError("--only scores every event of the table; there is no threshold to it.")
    if chosen and given is not None:
        raise LoxoError("Give --threshold, or let it be chosen by --max-fp-per-hour or --review-budget, not both.")
    if only is None and from_scores is None and not paths:
        raise LoxoError("No recordings were given. Example: loxo detect sd_card/ --out runs/march")

    if only is not None:
        _only(only, model, out, paths or [], overlap, batch_size, device, runtime)
        return
    if from_scores is not None:
        from loxo.runs.config import read_run_config
        from loxo.survey.redecode import hours_of

        if chosen:
            kept, _ = read_run_config(from_scores)
            given = _say(choose(kept, max_fp_per_hour, review_budget, lambda: hours_of(from_scores)))
        names = Names(name_pattern, time_zone) if name_pattern or time_zone else None
        _again(from_scores, out, work, given, changes, format, names)
        return

    with quick_imports():
        from loxo.survey.survey import Progress as SurveyProgress
        from loxo.survey.survey import survey

    if chosen:
        from loxo.engine.model_file import load_model

        config = load_model(model).config
        given = _say(choose(config, max_fp_per_hour, review_budget, lambda: hours_in(paths or [])))
    with progress_bar("detecting") as (bar, task):

        def on_progress(progress: SurveyProgress) -> None:
            failures = f", {progress.failed} with problems" if progress.failed else ""
            note = (
                f"{progress.finished}/{progress.recordings} recordings, {progress.hours_per_second:.2f} h/s{failures}"
            )
            bar.update(task, completed=progress.share, total=1.0, note=note)

        summary = survey(
            paths or [],
            model,
            out,
            threshold=given,
            window_overlap=overlap,
            batch_size=batch_size,
            workers=workers or usable_cores(),
            cluster=cluster,
            shard_minutes=shard_minutes,
            patience_minutes=patience_minutes,
            keep_scores=keep_scores,
            formats=format,
            names=Names(name_pattern, time_zone),
            device=device,
            runtime=runtime,
            work=work,
            on_progress=on_progress,
        )
    _end(str(summary), [sentence for _, sentence in summary.problems], out)


def _again(run: Path, out: str, work: Path | None, threshold: Any, changes: Any, formats: str, names: Any) -> None:
    from loxo.survey.redecode import rescore

    with progress_bar("decoding") as (bar, task):

        def on_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=f"{done}/{total} recordings")

        summary = rescore(
            run,
            out,
            threshold=threshold,
            changes=changes,
            formats=formats,
            names=names,
            work=work,
            on_progress=on_progress,
        )
    _end(str(summary), [sentence for _, sentence in summary.problems], out)


def _only(
    table: Path,
    model: str,
    out: str,
    recordings: Sequence[str],
    overlap: float,
    batch_size: int,
    device: str,
    runtime: str,
) -> None:
    from loxo.survey.score_table import score_table

    with progress_bar("scoring") as (bar, task):

        def on_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=f"{done}/{total} recordings")

        scored = score_table(
            table,
            model,
            out,
            recordings=recordings,
            window_overlap=overlap,
            batch_size=batch_size,
            device=device,
            runtime=runtime,
            on_progress=on_progress,
        )
    _end(str(scored), scored.problems, scored.table)


def _say(choice: Any) -> dict[str, float]:
    for sentence in choice.sentences:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    thresholds: dict[str, float] = choice.thresholds
    return thresholds


def _end(summary: str, problems: Sequence[str], out: str | Path) -> None:
    for sentence in problems:
        errors.print(f"problem: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{summary}: {out}", highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
