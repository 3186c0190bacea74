"""Detections in the terms of two standards.

Audiovisual Core (TDWG): a table whose columns are terms of the standard, one row for each event (region of interest).
AOEF (Acoustic Objects Exchange Format, version 1.1.0): an annotation project as whombat imports it, with a clip and a
task for each recording. Its tags are `event` (the label) and `verdict`; the score is the feature `score`.

Identifiers are UUIDs that are computed from the run's content, so the same run gives the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np

from loxo.audio.recording import probe
from loxo.errors import LoxoError
from loxo.files import unescape

if TYPE_CHECKING:
    import pandas as pd

    from loxo.runs.read import Places, Run

AOEF_VERSION = "1.1.0"
NAMESPACE = UUID("6f0c3d52-6a3e-5d0b-9a0e-0d2f6c1b7e11")
# Columns of detections.csv by the terms of Audiovisual Core and Darwin Core
TERMS = {
    "dcterms:identifier": "identifier",
    "ac:isROIOf": "recording",
    "ac:startTime": "start_s",
    "ac:endTime": "end_s",
    "ac:freqLow": "low_hz",
    "ac:freqHigh": "high_hz",
    "ac:tag": "label",
    "dwc:locationID": "site",
    "dwc:eventDate": "start_time",
    "dwc:identifiedBy": "detector",
    "dwc:identificationVerificationStatus": "verdict",
    "dwc:identificationRemarks": "remarks",
}


def audiovisual_core(run: Run, detections: pd.DataFrame) -> pd.DataFrame:
    """A row for each event, with the columns TERMS. An event without a decision has the status "unverified"."""
    parameters = run.parameters
    words = {"yes": "confirmed", "other": "confirmed", "no": "rejected", "": "unverified"}
    table = detections.assign(
        identifier=[f"urn:uuid:{name}" for name in event_ids(detections)],
        detector=f"Loxo {parameters.get('version', '')}, model {parameters.get('model_sha256', '')}",
        verdict=[words.get(verdict, verdict) for verdict in detections["verdict"]],
        remarks=[f"score {score:.4f}" if np.isfinite(score) else "" for score in detections["score"]],
        start_time=detections["start_time"].dt.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    return table[list(TERMS.values())].set_axis(list(TERMS), axis=1)


def event_ids(detections: pd.DataFrame) -> list[UUID]:
    """The UUID of each event, from its recording, times and detected label."""
    columns = [detections[name] for name in ("recording", "start_s", "end_s", "detected_label")]
    return [_id("event", *values) for values in zip(*columns, strict=True)]


def _id(*parts: Any) -> UUID:
    return uuid5(NAMESPACE, "\n".join(map(str, parts)))


def aoef(run: Run, detections: pd.DataFrame, places: Places, notes: list[str]) -> dict[str, Any]:
    """The annotation project as values for JSON. Recordings that cannot be opened are left out, with a note."""
    tags: dict[tuple[str, str], int] = {}
    name = run.folder.resolve().name
    found: dict[str, list[dict[str, Any]]] = {
        key: []
        for key in ("recordings", "clips", "sound_events", "sound_event_annotations", "clip_annotations", "tasks")
    }
    rows = detections.assign(id=[str(name) for name in event_ids(detections)]).groupby("recording", sort=False)
    by_recording: dict[Any, pd.DataFrame] = dict(iter(rows))
    missing = 0
    for entry in run.recordings[run.recordings["status"] != "failed"].to_dict("records"):
        recording = str(entry["recording"])
        try:
            path = places.locate(recording)
            about = probe(path)
        except LoxoError:
            missing += 1
            continue
        own, clip = _id("recording", recording), _id("clip", recording)
        start = entry["start"]
        events = by_recording.get(recording, detections[:0]).to_dict("records")
        found["recordings"].append(
            {
                "uuid": str(own),
                "path": unescape(str(path)),
                "duration": float(about.duration_s),
                "channels": int(about.channels),
                "samplerate": int(about.sample_rate),
                **({} if start != start else {"date": f"{start:%Y-%m-%d}", "time": f"{start:%H:%M:%S}"}),
                "tags": [_tag(tags, "site", entry["site"])] if entry["site"] else [],
            }
        )
        span = {"start_time": 0.0, "end_time": float(about.duration_s)}
        found["clips"].append({"uuid": str(clip), "recording": str(own), **span})
        annotations = [_annotation(event, own, about.sample_rate, tags) for event in events]
        found["sound_events"] += [sound_event for sound_event, _ in annotations]
        found["sound_event_annotations"] += [annotation for _, annotation in annotations]
        annotated = [annotation["uuid"] for _, annotation in annotations]
        uuid = str(_id("clip annotation", recording))
        found["clip_annotations"].append({"uuid": uuid, "clip": str(clip), "sound_events": annotated})
        found["tasks"].append({"uuid": str(_id("task", recording)), "clip": str(clip)})
    if missing:
        notes.append(
            f"{missing} recording{' was' if missing == 1 else 's were'} not found and left out of the AOEF file, which "
            "states the sample rate of each recording. Give the folder with `--recordings FOLDER`."
        )
    created = "1970-01-01T00:00:00"  # the same run gives the same file
    data = {
        "uuid": str(_id("project", name, *by_recording)),
        "collection_type": "annotation_project",
        "name": name,
        "description": "Events detected by Loxo",
        "created_on": created,
        "tags": [{"id": number, "key": key, "value": value} for (key, value), number in tags.items()],
        **found,
    }
    return {"version": AOEF_VERSION, "created_on": created, "data": data}


def _annotation(
    event: Mapping[Any, Any], recording: UUID, sample_rate: int, tags: dict[tuple[str, str], int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A sound event and its annotation. Unknown frequencies become 0 and half the sample rate."""
    low = event["low_hz"] if np.isfinite(event["low_hz"]) else 0.0
    high = event["high_hz"] if np.isfinite(event["high_hz"]) else sample_rate / 2
    sound_event: dict[str, Any] = {
        "uuid": str(_id("sound event", event["id"])),
        "recording": str(recording),
        "geometry": {"type": "BoundingBox", "coordinates": [event["start_s"], low, event["end_s"], high]},
    }
    if np.isfinite(event["score"]):
        sound_event["features"] = {"score": float(event["score"])}
    named = [("event", event["label"]), *([("verdict", event["verdict"])] if event["verdict"] else [])]
    annotation = {
        "uuid": str(event["id"]),
        "sound_event": sound_event["uuid"],
        "tags": [_tag(tags, key, value) for key, value in named],
    }
    return sound_event, annotation


def _tag(tags: dict[tuple[str, str], int], key: str, value: str) -> int:
    return tags.setdefault((key, value), len(tags))
