"""The sections of a report about its run: effort with gaps and failed recordings, and the model with its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.languages import mark, text, translated
from loxo.report import page
from loxo.report.reviewed import threshold_of
from loxo.report.sentences import nouns

if TYPE_CHECKING:
    from loxo.report.findings import Findings
    from loxo.runs.read import Run

STATUSES = (mark("running"), mark("interrupted"), mark("finished"))
OTHERWISE = ("decoding", "calibration", "curves", "threshold")  # parameters with values by class


def effort_section(found: Findings, svg: dict[str, str]) -> str:
    run, parts = found.run, []
    if "effort" in svg:
        caption = text(
            "Hours analysed by site and day. Hatched: no analysed sound. Cross: a recording failed or is cut off."
        )
        parts.append(page.figure(svg["effort"], caption))
    rows = []
    for site, days in found.daily.groupby("site"):
        dated = days[days["date"].notna()]
        gaps = found.gaps[found.gaps["site"] == site]
        of_site = run.recordings[run.recordings["site"] == site]
        seconds = [float(of_site[name].sum()) / 3600 for name in ("duration_s", "analysed_s")]
        used = int((dated["analysed_h"] > 0).sum())
        days_used = text("{n} of {total}", n=used, total=len(dated))
        when = page.span(dated["date"].iloc[0], dated["date"].iloc[-1]) if len(dated) else text("not known")
        lengths = f"{len(gaps)}: {page.hours(float(gaps['hours'].sum()))}"
        rows.append((page.site(str(site)), when, len(of_site), int(days["failed"].sum()),
                     int(days["cut_off"].sum()), *map(page.hours, seconds), days_used,
                     lengths if len(gaps) else text("none")))  # fmt: skip
    columns = [text("site"), text("dates"), text("recordings") + "#", text("failed") + "#", text("cut off") + "#"]
    columns += [text("recorded") + "#", text("analysed") + "#", text("days with sound") + "#", text("gaps") + "#"]
    parts.append(page.cut_table(columns, rows, "effort"))
    if found.overlap_h > 0.02:
        words = text(
            "{hours} were recorded more than once at a site (copies, or two recorders with the same name). Each "
            "recording counts.",
            hours=page.hours(found.overlap_h),
        )
        parts.append(page.paragraph(words, "warn"))
    if len(found.gaps):
        parts.append(f"<h3>{text('Gaps, longest first')}</h3>")
        longest = found.gaps.sort_values("hours", ascending=False, kind="stable")
        columns = [text("site"), text("from"), text("to"), text("length") + "#", text("cause") + "*"]
        gap_rows = [
            (page.site(gap["site"]), f"{gap['start']:%Y-%m-%d %H:%M}", f"{gap['end']:%Y-%m-%d %H:%M}",
             page.hours(gap["hours"]), translated(gap["cause"]))
            for gap in longest.head(page.MAX_ROWS + 1).to_dict("records")
        ]  # fmt: skip
        parts.append(page.cut_table(columns, gap_rows, "gaps", len(longest)))
    troubles = run.recordings[run.recordings["reason"] != ""]
    if len(troubles) or run.problems:
        parts.append(f"<h3>{text('Recordings that failed or are cut off')}</h3>")
        names = troubles[["recording", "status", "reason"]].to_numpy().tolist()
        states = {"truncated": text("cut off"), "failed": text("failed")}
        problems = [(base_name(name), states.get(status, status), translated(reason)) for name, status, reason in names]
        problems += [(name, states["failed"], translated(sentence)) for name, sentence in run.problems]
        columns = [text("recording") + "*", text("status"), text("reason") + "*"]
        parts.append(page.cut_table(columns, problems, "problems"))
    noted = run.recordings[(run.recordings["status"] == "done") & (run.recordings["notes"].str.len() > 0)]
    if len(noted):
        parts.append(f"<h3>{text('Recordings that were read whole, with a note')}</h3>")
        notes = [
            (base_name(name), " ".join(map(translated, words)))
            for name, words in noted[["recording", "notes"]].to_numpy()
        ]
        parts.append(page.cut_table([text("recording") + "*", text("note") + "*"], notes))
    return "".join(parts)


def parameters(runs: list[Run]) -> str:
    """The parameters of the runs, one column per run. Of several runs, the parameters that differ come first."""
    names = list(dict.fromkeys(name for run in runs for name in run.parameters if name not in OTHERWISE))
    rows: list[tuple[Any, ...]] = [(text("status"), *[text(run.status) for run in runs])]
    rows += [(name, *[_word(run.parameters.get(name)) for run in runs]) for name in names]
    labels = dict.fromkeys(label for run in runs for label in run.parameters.get("decoding") or {})
    for label in labels:
        fields = dict.fromkeys(name for run in runs for name in (run.parameters.get("decoding") or {}).get(label, {}))
        rows += [(f"{label}: {name}", *[_word(_of_class(run, label, name)) for run in runs]) for name in fields]
    columns = [text("parameter"), *[f"{run.folder.resolve().name}*" for run in runs]]
    if len(runs) == 1:
        return page.table(columns, rows)
    other = [row for row in rows if len(set(row[1:])) > 1]
    differing = page.table(columns, other) if other else page.paragraph(text("All parameters are the same."))
    same = page.table(columns, [row for row in rows if row not in other])
    return f"{differing}<h3>{text('The same in both')}</h3>{same}"


def _of_class(run: Run, label: str, name: str) -> Any:
    """A parameter of a class. The threshold is the one that held, not that of the model."""
    if name == "threshold":
        return threshold_of(run, label)
    return (run.parameters.get("decoding") or {}).get(label, {}).get(name)


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items() if part is not None) or text("default")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return text("from the model") if value is None else f"{value}"


def model_section(found: Findings) -> str:
    """The data on which the model's operating curves were measured."""
    curves = found.run.parameters.get("curves") or {}
    words = "False positives of {events} were measured on: {data}"
    sentences = [text(words, events=nouns(label), data=curve["data"]) for label, curve in curves.items()]
    return "".join(page.paragraph(sentence, "note") for sentence in sentences)
