"""Reads tables of annotations, in one way for `loxo train`, `adapt`, `evaluate` and `calibrate`.

**Labels**: `label_column` is the column with the labels, `label` the class of events without one. `labels` gives the
class of labels with other names, as {"RUM": "rumble"}. Upper and lower case do not matter.

**Names**: `rename` gives parts of file names in the tables and their names on disk, as {"dzan": "dz"}. It applies only
where a name is not found (`names.renamed`).

**Searched spans**: tables of the spans that were searched for events (recording, start_s, end_s). The time outside them
is neither event nor background (`spans.gaps`). Without them, all recordings in the tables were searched completely.

**Reviews**: the folder that `loxo review --export` wrote contains tables, hard negatives and searched spans
(`review_tables`). A table of a review in which events are undecided lacks calls. It raises LoxoError without searched
spans, because each undecided call would count as a false positive.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.engine.fields import nearest
from loxo.errors import LoxoError
from loxo.events.reader import read_events, read_tables

if TYPE_CHECKING:
    import pandas as pd

MAX_LABELS = 3  # in a sentence
REVIEW_TABLES = ("tables", "incomplete")  # in the folder training/ of a review's export
SEARCHED = "searched.csv"
Paths = str | Path | Sequence[str | Path]


def read_annotations(
    paths: Paths,
    *,
    label: str | None = None,
    label_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    searched: Paths = (),
    extra: Mapping[str, Collection[str]] | None = None,
    read: Callable[..., pd.DataFrame] = read_events,
) -> pd.DataFrame:
    """The events of all tables and folders of tables, with the attributes and the columns of `read_tables`.

    `extra` and `read` are as in `read_tables`. The attribute `searched` is a table of the searched spans, or None if
    the tables were searched completely.

    Raises LoxoError if a table cannot be read, or is a table of a review that lacks undecided events.
    """
    events = read_tables(paths, label_column, label=label, extra=extra, read=read)
    spans = read_tables(searched, label="searched") if searched else None
    if events.attrs["incomplete"] and spans is None:
        raise LoxoError(
            f"{events.attrs['incomplete'][0]}: this table comes from a review in which some events are not decided, so "
            "that calls are missing in it. Use `loxo calibrate --review RUN`, or the folder reviewed/training/tables, "
            "or give the spans that were searched (`searched`)."
        )
    events.attrs["searched"] = spans
    return with_classes(events, labels)


def labels_to_classes(labels: Mapping[str, str], classes: Sequence[str] | None = None) -> dict[str, str]:
    """The class of each label in lower case: that in `labels`, and each of `classes` itself.

    Raises LoxoError if `labels` gives a class that is none of `classes`.
    """
    own = {name.casefold(): name for name in classes or ()}
    known = dict(own)
    for label, name in labels.items():
        if classes is not None and name.casefold() not in own:
            raise LoxoError(
                f"labels gives {label!r} the class {name!r}, but the model's classes are {', '.join(classes)}"
                f"{nearest(name, classes)}."
            )
        known[label.strip().casefold()] = own.get(name.casefold(), name)
    return known


def with_classes(events: pd.DataFrame, labels: Mapping[str, str] | None) -> pd.DataFrame:
    """The events with the classes that `labels` gives. The attributes stay."""
    known = labels_to_classes(labels or {})
    renamed = events.assign(label=[known.get(name.strip().casefold(), name) for name in events["label"]])
    renamed.attrs = events.attrs
    return renamed


def nearest_class(label: str, classes: Sequence[str]) -> str | None:
    """The class whose name is most similar to a label, if any is similar."""
    names = {name.casefold(): name for name in classes}
    return next((names[close] for close in difflib.get_close_matches(label.casefold(), names, 1)), None)


def list_labels(counts: Mapping[str, int], classes: Sequence[str]) -> str:
    """The most frequent labels with their numbers of events and the most similar class: "'rumbel' (3; the nearest is
    'rumble')"."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = []
    for label, count in ordered[:MAX_LABELS]:
        close = nearest_class(label, classes)
        shown.append(f"{label!r} ({count}{f'; the nearest is {close!r}' if close else ''})")
    return ", ".join(shown) + (", ..." if len(ordered) > MAX_LABELS else "")


def label_option(labels: Iterable[str], classes: Sequence[str]) -> str:
    """Example of the option for labels with other names: "--labels rumbel=rumble"."""
    pairs = {label: nearest_class(label, classes) for label in labels}
    label = next((label for label, close in pairs.items() if close), next(iter(pairs), "RUM"))
    return f"--labels {label}={pairs.get(label) or classes[0]}"


def review_tables(
    tables: Sequence[str], searched: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Tables of events, of hard negatives and of searched spans. The folder of a review's export gives all three.

    Raises LoxoError if the review has confirmed no event.
    """
    events: list[str] = []
    hard_negatives: list[str] = []
    spans = list(searched)
    for table in tables:
        folders = (Path(table, *parts) for parts in ((), ("training",), ("reviewed", "training")))
        folder = next((folder for folder in folders if (folder / SEARCHED).is_file()), None)
        if folder is None:
            events.append(table)
            continue
        events += [str(folder / name) for name in REVIEW_TABLES if any((folder / name).rglob("*.txt"))]
        hard_negatives += map(str, folder.glob("hard_negatives*.txt"))
        spans.append(str(folder / SEARCHED))
        if not events:
            raise LoxoError(f"{table}: this review has confirmed no event. Confirm some calls and export it again.")
    return tuple(events), tuple(hard_negatives), tuple(spans)
