"""The API of the app: a FastAPI application for the page. review/guard.py restricts access to it.

    GET  /api/app                constants of the page: places, presets
    GET  /api/home               the runs;  POST /api/open {folder} lists an existing run
    POST /api/folders            {path}: the folders in a folder;  POST /api/inspect {folder}: its recordings
    GET  /api/form/COMMAND       the options of a command;  POST /api/line {command, values, sites}: its line
    POST /api/map                {sites} of the form, or {table}: a path: a map of the sites
    POST /api/start              {command, values, run, sites}: adds a job
    POST /api/jobs/ID/ACTION     stop, resume
    GET  /api/runs/ID            a run with its jobs and files;  POST /api/runs/ID/forget
    GET  /api/runs/ID/events     server-sent events: state of the job, progress, counts, problems, strip
    GET  /runs/ID/files/NAME     a page of the run, without scripts;  /runs/ID/review/...: its review (reviews.py)
    POST /api/quit               stops the server; jobs go on

A wrong request is answered with status 400 and {"error": one sentence} in the language of the request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from loxo.app.commands import LONG_COMMANDS, PRESETS, Commands, default_out, line
from loxo.app.folders import Places, inspect
from loxo.app.jobs import LONG, QUICK, Job, Jobs
from loxo.app.live import Live
from loxo.app.reviews import Reviews
from loxo.app.runs import EVALUATION, REPORT, Runs, outputs, run_id
from loxo.app.sites import given_sites, site_map, site_table
from loxo.errors import LoxoError
from loxo.events.sites import read_sites
from loxo.files import escape, inside
from loxo.languages import ENGLISH, current, speaking, system_language, translated
from loxo.review.guard import App, Receive, Scope, Send

TICK_S = 1.0  # between two events of a stream
TICKS = 5  # looks at the end of the server in this time
BEAT_S = 15.0  # an empty event, so that the server notices a page that was closed
# A report may come from another person: it is shown without scripts, and not as a page of this server.
PAGE_POLICY = (
    "sandbox allow-popups allow-downloads; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "media-src data:; font-src data:; frame-ancestors 'none'"
)


class _Json(JSONResponse):
    """JSON in ASCII: the name of a folder may have bytes that are not UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def create_api(
    home: Path, group: Any, places: Places, stop: Callable[[], None], is_stopping: Callable[[], bool] = lambda: False
) -> tuple[App, Callable[[], None]]:
    """The API, and a function to call at the end. `home` is the home folder of the app, `group` the click group of
    `loxo`. `stop` stops the server. Streams end when `is_stopping` returns True."""
    app = FastAPI(title="Loxo", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=_Json)
    jobs, runs, commands = Jobs(home), Runs(home), Commands(group, places)
    reviews = Reviews(runs.path)

    @app.exception_handler(LoxoError)
    def fault(request: Request, error: LoxoError) -> JSONResponse:
        return _Json({"error": escape(translated(str(error)))}, 400)

    @app.exception_handler(RequestValidationError)
    def misfit(request: Request, error: RequestValidationError) -> JSONResponse:
        return fault(request, LoxoError("The request is not valid."))

    @app.get("/api/app")
    def constants() -> dict[str, Any]:
        return {
            "places": [{"kind": place.kind, "path": str(place.path)} for place in places.listed()],
            "presets": PRESETS,
        }

    @app.get("/api/home")
    def listed() -> dict[str, Any]:
        jobs.start_waiting()
        return {"runs": runs.listed(jobs.listed())}

    @app.post("/api/open")
    def open_run(folder: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        return {"id": runs.open(places.check(folder))}

    @app.post("/api/folders")
    def folders(path: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        return places.folders(Path(path))

    @app.post("/api/inspect")
    def content(folder: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        path = places.check(folder)
        out = Path(default_out(_free_name(path.name or "survey")))
        return inspect(path, out) | {"out": str(out)}

    @app.get("/api/form/{command}")
    def form(command: str) -> list[dict[str, Any]]:
        return commands.form(command)

    def arguments(
        command: str, values: dict[str, Any], sites: list[dict[str, str]] | None, write: bool = False
    ) -> list[str]:
        """The arguments of `loxo`. `sites` is the table of the form; `write`: it is written."""
        if command == "report" and current() != system_language():
            values = {"language": current()} | values
        if not sites:
            return commands.arguments(command, values)
        with_sites = Commands(group, Places([*places.given, home]))
        return with_sites.arguments(command, values | {"sites": str(site_table(home, sites, write))})

    @app.post("/api/line")
    def command_line(
        command: Annotated[str, Body()],
        values: Annotated[dict[str, Any], Body()],
        sites: Annotated[list[dict[str, str]] | None, Body()] = None,
    ) -> dict[str, str]:
        return {"line": line(arguments(command, values, sites))}

    @app.post("/api/map")
    def site_picture(
        table: Annotated[str | None, Body()] = None, sites: Annotated[list[dict[str, str]] | None, Body()] = None
    ) -> dict[str, str]:
        if sites:
            return {"svg": site_map(given_sites(sites))}
        return {"svg": site_map(read_sites(places.check(table))) if table else ""}

    @app.post("/api/start")
    def start(
        command: Annotated[str, Body()],
        values: Annotated[dict[str, Any], Body()],
        run: Annotated[str | None, Body()] = None,
        sites: Annotated[list[dict[str, str]] | None, Body()] = None,
    ) -> dict[str, str]:
        folder = None if run is None else runs.path(run)
        words = arguments(command, values, sites, write=True)
        if command in ("detect", "decode"):  # these make a run
            folder = places.check(str(values["out"]))
        job = jobs.add(words, None if folder is None else str(folder), LONG if command in LONG_COMMANDS else QUICK)
        id = run if folder is None else runs.add(folder)
        jobs.start_waiting()
        return {"job": job.id, "run": id or ""}

    @app.post("/api/jobs/{id}/{action}")
    def act(id: str, action: str) -> dict[str, Any]:
        if action not in ("stop", "resume"):
            raise LoxoError("The request is not valid.")
        getattr(jobs, action)(id)
        jobs.start_waiting()
        return {}

    @app.get("/api/runs/{id}")
    def run(id: str) -> dict[str, Any]:
        folder = runs.path(id)
        found = jobs.listed()
        latest = {job.run: job for job in found if job.lane == LONG}
        mine = [job for job in found if job.run == str(folder)]
        return {
            **runs.summary(id, latest),
            "path": str(folder),
            "jobs": [_job(job) | {"output": jobs.output(job.id)} for job in mine[-10:]],
            "outputs": outputs(folder),
            "next": next(
                (run_id(path) for path in [folder.with_name(folder.name + "-reviewed")] if path.is_dir()), None
            ),
        }

    @app.post("/api/runs/{id}/forget")
    def forget(id: str) -> dict[str, Any]:
        folder = str(runs.path(id))
        for job in jobs.listed():
            if job.run == folder and not job.is_open:
                jobs.remove(job.id)
        runs.forget(id)
        return {}

    @app.get("/api/runs/{id}/events")
    async def events(id: str, language: str = ENGLISH) -> StreamingResponse:
        folder = await asyncio.to_thread(runs.path, id)
        # A page cannot add a header to the request of a stream, so the language is in its address.
        return StreamingResponse(_stream(jobs, folder, language, is_stopping), media_type="text/event-stream")

    @app.get("/runs/{id}/files/{name:path}")
    def page(id: str, name: str) -> Response:
        if name not in (REPORT, EVALUATION):
            raise LoxoError("The app shows only the report and the evaluation of a run.")
        path = inside(runs.path(id), name)
        if not path.is_file():
            raise LoxoError("The run has no such page yet.")
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": PAGE_POLICY})

    @app.post("/api/quit")
    def quit() -> dict[str, Any]:
        stop()
        return {}

    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        """The API, and the review pages below it."""
        parts = scope.get("path", "").split("/", 4)
        if scope["type"] == "http" and len(parts) == 5 and parts[1] == "runs" and parts[3] == "review":
            try:
                await reviews.serve(parts[2], "/" + parts[4], scope, receive, send)
                return
            except LoxoError as error:
                await fault(Request(scope), error)(scope, receive, send)
                return
        await app(scope, receive, send)

    jobs.start_waiting()
    return whole, reviews.close


def _free_name(name: str) -> str:
    """The name of a run folder that does not exist yet."""
    number, free = 1, name
    while Path(default_out(free)).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "run": None if job.run is None else run_id(Path(job.run)),
        "name": None if job.run is None else escape(Path(job.run).name),
        "command": job.command[0],
        "line": escape(line(job.command)),
        "state": job.state,
        "stopping": job.is_stopping,
        "code": job.code,
        "created": job.created,
        "ended": job.ended,
        "progress": job.progress,
    }


async def _stream(jobs: Jobs, folder: Path, language: str, is_stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Events for one page: the long job of the run, and the content of the run, each when it has changed."""
    live = await asyncio.to_thread(Live, folder)
    sent: dict[str, str] = {}
    beat = time.monotonic()
    while not is_stopping():
        changed = await asyncio.to_thread(_changes, jobs, folder, live, language)
        for kind, content in changed.items():
            text = json.dumps(content, separators=(",", ":"))
            if sent.get(kind) != text:
                sent[kind] = text
                beat = time.monotonic()
                yield f"event: {kind}\ndata: {text}\n\n"
        if time.monotonic() - beat > BEAT_S:
            beat = time.monotonic()
            yield ": \n\n"
        for _ in range(TICKS):
            if not is_stopping():
                await asyncio.sleep(TICK_S / TICKS)


def _changes(jobs: Jobs, folder: Path, live: Live, language: str) -> dict[str, Any]:
    jobs.start_waiting()
    found = jobs.listed()
    mine = [_job(job) for job in found if job.run == str(folder)]
    before = [job for job in found if job.is_open and job.lane == LONG]
    place = next((index for index, job in enumerate(before) if job.run == str(folder)), 0)
    changes: dict[str, Any] = {"jobs": {"jobs": mine[-10:], "place": place}}
    with speaking(language):
        if (state := live.changes()) is not None:
            changes["run"] = state
    return changes
