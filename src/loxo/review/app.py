"""The server's API: a FastAPI application for one session. guard.py restricts access; front.py serves the page.

    GET  /api/run                constants of the session: classes, sites, reviewer, bands, speeds
    GET  /api/queue?...          the rows that pass a filter (loxo.review.queue.Filter), in its order, with the letters
                                 of their verdicts; the first row to show (of the event `at`, or the first of the list)
                                 and details around it
    GET  /api/events?rows=1,2    details of up to MAX_ROWS events
    GET  /api/thumb/ROW?band=    a small spectrogram of an event (loxo.review.media)
    GET  /api/recordings         the recordings of the run; their numbers S stand in the following paths
    GET  /api/picture/S?...      spectrogram and frame scores of a stretch
    GET  /api/around/S?...       the events in a stretch, and the searched stretches;  /api/overview/S: all of them
    GET  /api/sound/S?...        WAV
    GET  /api/random?...         the next random stretch to search for labels
    POST /api/act                {"changes": [...]}, /api/undo, /api/redo: answered after fsync
    POST /api/places             {"folder": ...}: moved recordings are searched for below this folder
    GET  /api/results            counts, fits, estimates, agreement;  POST /api/export writes the reviewed tables

A wrong request and an unreadable recording are answered with status 400 and {"error": one sentence}. Unreadable frame
scores are a sentence in the picture (`problem`). `warnings` in the answers of run, results and export are sentences
about decision logs that cannot be read.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import Future
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from loxo.audio.playback import PITCH, SPEEDS
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.languages import text, translated
from loxo.review.front import Front, review_files
from loxo.review.guard import App, Guard, is_loopback
from loxo.review.media import Media
from loxo.review.output import write_export
from loxo.review.queue import ORDERS, STATUSES, Filter
from loxo.review.results import results
from loxo.review.session import Session
from loxo.review.spectrogram import BANDS

MAX_ROWS = 500  # max number of details in one answer
BEFORE, AFTER = 10, 90  # number of details sent with a list, before and after the first row to show


class _Json(JSONResponse):
    """JSON in ASCII: the name of a recording may have bytes that are not UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def create_app(session: Session, token: str, host: str = "127.0.0.1", sample: int | None = None) -> Guard:
    """The whole application, protected by a token. `host` is the address to listen on; `sample`: see review_files."""
    api: Future[App] = Future()
    api.set_result(create_api(session, is_loopback(host)))
    return Guard(Front(api, review_files(sample)), token, host)


def create_api(session: Session, local: bool = True) -> App:
    """The API of a session. `local`: only users of this computer have access, so they may name a folder of it."""
    app = FastAPI(title="Loxo review", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=_Json)
    media = Media(session)

    @app.exception_handler(LoxoError)
    def fault(request: Request, error: LoxoError) -> JSONResponse:
        return _Json({"error": escape(translated(str(error)))}, 400)

    @app.exception_handler(RequestValidationError)
    def misfit(request: Request, error: RequestValidationError) -> JSONResponse:
        return _Json({"error": text("The request is not valid.")}, 400)

    @app.get("/api/run")
    def run() -> dict[str, Any]:
        session.refresh()
        columns = session.columns
        return {
            "name": session.run.folder.resolve().name,
            "reviewer": session.reviewer,
            "events": len(session.names),
            "recordings": len(session.run.recordings),
            "labels": session.run.labels,
            "sites": sorted(set(columns.site) - {""}),
            "statuses": STATUSES,
            "orders": ORDERS,
            "bands": {name: None if math.isinf(band.high_hz) else band.high_hz for name, band in BANDS.items()},
            "speeds": SPEEDS,
            "pitch": PITCH,
            "decided": session.decided,
            "channels": session.has_channels,
            "local": local,
            "unmatched": session.unmatched,
            "running": session.run.status == "running",
            "warnings": list(map(translated, session.warnings)),
        }

    @app.get("/api/queue")
    def queue(filter: Annotated[Filter, Depends()], at: str | None = None) -> Response:
        rows = session.queue(filter)
        place = session.place_of(at, rows)
        around = rows[max(place - BEFORE, 0) : place + AFTER].tolist()
        content = {
            "rows": rows.tolist(),
            "verdicts": session.letters(rows),
            "decided": session.decided,
            "row": int(rows[place]) if len(rows) else None,
            "events": [session.detail(row) for row in around],
        }
        # Encoded here, because FastAPI would process each of a hundred thousand numbers.
        return Response(json.dumps(content), media_type="application/json")

    @app.get("/api/events")
    def events(rows: str) -> list[dict[str, Any]]:
        numbers = _numbers(rows)
        return [session.detail(session.check_row(row)) for row in numbers]

    @app.get("/api/recordings")
    def recordings() -> list[dict[str, Any]]:
        return session.recordings.listed()

    @app.get("/api/picture/{source}")
    def picture(source: int, start: float, end: float, band: str = "250", channel: int | None = None) -> Response:
        content = media.picture(source, band, *_span(start, end), channel)
        return Response(content, media_type="application/octet-stream")

    @app.get("/api/thumb/{row}")
    def thumb(row: int, band: str = "250") -> Response:
        return Response(media.thumb(session.check_row(row), band), media_type="application/octet-stream")

    @app.get("/api/around/{source}")
    def around(source: int, start: float, end: float) -> dict[str, Any]:
        return session.recordings.around(source, *_span(start, end))

    @app.get("/api/overview/{source}")
    def overview(source: int, channel: int | None = None) -> dict[str, Any]:
        return media.overview(source, channel)

    @app.get("/api/random")
    def random(labels: str, after: int = -1) -> dict[str, Any] | None:
        return session.recordings.next_stretch(labels.split(","), max(after, -1))

    @app.get("/api/sound/{source}")
    def sound(
        source: int, start: float, end: float, speed: int = 1, pitched: bool = False, channel: int | None = None
    ) -> Response:
        if speed not in SPEEDS:
            raise LoxoError(f"The speed must be one of {', '.join(map(str, SPEEDS))}.")
        return Response(media.sound(source, *_span(start, end), speed, pitched, channel), media_type="audio/wav")

    @app.post("/api/places")
    def places(folder: Annotated[str, Body(embed=True)]) -> dict[str, int]:
        if not local:
            raise LoxoError("Other computers can open this page. Start `loxo review` again with --recordings FOLDER.")
        return {"found": session.search_in(folder), "recordings": len(session.sources)}

    @app.post("/api/act")
    def act(changes: Annotated[list[_Change], Body(embed=True)]) -> dict[str, Any]:
        return answered(session.act([change.model_dump(exclude_unset=True) for change in changes]))

    @app.post("/api/undo")
    def undo() -> dict[str, Any]:
        return answered(session.undo()) | {"said": session.said}

    @app.post("/api/redo")
    def redo() -> dict[str, Any]:
        return answered(session.redo()) | {"said": session.said}

    def answered(rows: list[int]) -> dict[str, Any]:
        """The details of the rows that an action changed. An undone drawing has only its row and `gone`."""
        events = [session.detail(row) if session.exists(row) else {"row": row, "gone": True} for row in rows]
        return {"events": events, "decided": session.decided}

    @app.get("/api/results")
    def answer() -> dict[str, Any]:
        session.refresh()
        return results(session.run, session.names, session.people()) | {
            "warnings": list(map(translated, session.warnings))
        }

    @app.post("/api/export")
    def export() -> dict[str, Any]:
        session.refresh()
        written = write_export(session.run, session.names, session.people(), session.places, session.warnings)
        return {
            "folder": str(written.folder.absolute()),
            "run": str(session.run.folder.absolute()),
            "files": len(written.files),
            "events": written.events,
            "warnings": list(map(translated, written.warnings)),
        }

    return app


class _Change(BaseModel):
    """One change of an action, as sent by the page; see Session.act."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    row: int | None = None
    source: int | None = None
    searched: int | None = None
    random: int | None = None
    channel: int | None = None
    verdict: Literal["yes", "no", "unsure", "other"] | None = None
    label: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    note: str | None = None


def _span(start: float, end: float) -> tuple[float, float]:
    if not math.isfinite(start + end) or not start < end:
        raise LoxoError("A stretch must have a start and, after it, an end.")
    return start, end


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise LoxoError("Give rows as numbers separated by commas.") from None
    if len(numbers) > MAX_ROWS:
        raise LoxoError(f"Ask for at most {MAX_ROWS} rows at once, not {len(numbers)}.")
    return numbers
