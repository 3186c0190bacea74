"""The server's API: a FastAPI application for one session. guard.py restricts access; front.py serves the page.

    GET  /api/run                constants of the session: classes, sites, reviewer, bands, speeds
    GET  /api/queue?...          the rows that pass a filter (loxo.review.queue.Filter), in its order, with the letters
                                 of their verdicts; the first row to show (of the event `at`, or the first of the list)
                                 and details around it
    GET  /api/events?rows=1,2    details of up to MAX_ROWS events
    GET  /api/picture/ROW?band=  spectrogram and frame scores, /api/thumb/ROW?band= a small one (loxo.review.media)
    GET  /api/around/ROW         the other events in the picture
    GET  /api/sound/ROW?...      WAV
    POST /api/act                {"changes": [...]}, /api/undo, /api/redo: answered after fsync
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

from loxo.errors import LoxoError
from loxo.files import escape
from loxo.review.audio import PITCH, SPEEDS
from loxo.review.front import Front
from loxo.review.guard import App, Guard
from loxo.review.media import MAX_CONTEXT_S, Media
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
    """The whole application, protected by a token. `host` is the address to listen on; `sample`: see Front."""
    api: Future[App] = Future()
    api.set_result(create_api(session))
    return Guard(Front(api, sample), token, host)


def create_api(session: Session) -> App:
    """The API of a session."""
    app = FastAPI(title="Loxo review", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=_Json)
    media = Media(session)

    @app.exception_handler(LoxoError)
    def fault(request: Request, error: LoxoError) -> JSONResponse:
        return _Json({"error": escape(str(error))}, 400)

    @app.exception_handler(RequestValidationError)
    def misfit(request: Request, error: RequestValidationError) -> JSONResponse:
        return _Json({"error": "The request is not valid."}, 400)

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
            "context": MAX_CONTEXT_S,
            "unmatched": session.unmatched,
            "running": session.run.status == "running",
            "warnings": session.warnings,
        }

    @app.get("/api/queue")
    def queue(filter: Annotated[Filter, Depends()], at: str | None = None) -> Response:
        rows = session.queue(filter)
        place = session.place_of(at, rows)
        around = rows[max(place - BEFORE, 0) : place + AFTER].tolist()
        content = {
            "rows": rows.tolist(),
            "verdicts": session.letters(rows),
            "row": int(rows[place]) if len(rows) else None,
            "events": [session.detail(row) for row in around],
        }
        # Encoded here, because FastAPI would process each of a hundred thousand numbers.
        return Response(json.dumps(content), media_type="application/json")

    @app.get("/api/events")
    def events(rows: str) -> list[dict[str, Any]]:
        numbers = _numbers(rows)
        return [session.detail(session.check_row(row)) for row in numbers]

    @app.get("/api/picture/{row}")
    def picture(row: int, band: str = "250") -> Response:
        return Response(media.picture(session.check_row(row), band), media_type="application/octet-stream")

    @app.get("/api/thumb/{row}")
    def thumb(row: int, band: str = "250") -> Response:
        return Response(media.thumb(session.check_row(row), band), media_type="application/octet-stream")

    @app.get("/api/around/{row}")
    def around(row: int) -> list[dict[str, Any]]:
        return session.around(session.check_row(row), *media.window(row, MAX_CONTEXT_S))

    @app.get("/api/sound/{row}")
    def sound(row: int, start: float, end: float, speed: int = 1, pitched: bool = False) -> Response:
        if speed not in SPEEDS or not math.isfinite(start + end):
            raise LoxoError(f"The speed must be one of {', '.join(map(str, SPEEDS))}, and the times must be finite.")
        return Response(media.sound(session.check_row(row), start, end, speed, pitched), media_type="audio/wav")

    @app.post("/api/act")
    def act(changes: Annotated[list[_Change], Body(embed=True)]) -> list[dict[str, Any]]:
        return details(session.act([change.model_dump(exclude_unset=True) for change in changes]))

    @app.post("/api/undo")
    def undo() -> list[dict[str, Any]]:
        return details(session.undo())

    @app.post("/api/redo")
    def redo() -> list[dict[str, Any]]:
        return details(session.redo())

    def details(rows: list[int]) -> list[dict[str, Any]]:
        """The details of the rows that an action changed. An undone drawing has only its row and `gone`."""
        return [session.detail(row) if session.exists(row) else {"row": row, "gone": True} for row in rows]

    @app.get("/api/results")
    def answer() -> dict[str, Any]:
        session.refresh()
        return results(session.run, session.names, session.people()) | {"warnings": session.warnings}

    @app.post("/api/export")
    def export() -> dict[str, Any]:
        session.refresh()
        written = write_export(session.run, session.names, session.people(), session.places, session.warnings)
        return {
            "folder": str(written.folder),
            "files": len(written.files),
            "events": written.events,
            "warnings": written.warnings,
        }

    return app


class _Change(BaseModel):
    """One change of an action, as sent by the page; see Session.act."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    row: int | None = None
    beside: int | None = None
    verdict: Literal["yes", "no", "unsure", "other"] | None = None
    label: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    note: str | None = None


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise LoxoError("Give rows as numbers separated by commas.") from None
    if len(numbers) > MAX_ROWS:
        raise LoxoError(f"Ask for at most {MAX_ROWS} rows at once, not {len(numbers)}.")
    return numbers
