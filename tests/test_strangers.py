"""A run folder from a stranger: no command reads, writes or deletes a file outside it (SECURITY.md)."""

import dataclasses
import json
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fakes import FakeModel, write

from loxo.audio import roots
from loxo.errors import LoxoError
from loxo.evaluation.calibrate import calibrate
from loxo.evaluation.evaluate import evaluate
from loxo.report import report as report_module
from loxo.report.report import report
from loxo.report.show import show
from loxo.review.media import Media
from loxo.review.output import export
from loxo.review.session import Session
from loxo.runs.journal import JOURNAL, Journal
from loxo.runs.scores import find_scores
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey

NAME = "nn01_20200101_000000"
TABLE = f"tables/{NAME}.selections.txt"
SCORES = f"scores/{NAME}.npz"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A card with a recording, a run of it with a review, and outside/ with files that belong to the user."""
    folder = tmp_path
    monkeypatch.setattr(report_module, "render", lambda *_, **__: b"<svg></svg>")  # takes most of the time
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the folders of recordings that are known
    monkeypatch.setattr("loxo.audio.roots._remembered", set())
    write(folder / "home/card" / f"{NAME}.wav", 20)
    survey([folder / "home/card"], "fake", folder / "mail/run", load=FakeModel, threshold=0.1, keep_scores=True)
    with _session(folder / "mail/run") as session:
        session.act([{"row": 0, "verdict": "yes"}])
    outside = folder / "home/outside"
    (outside / "tables").mkdir(parents=True)
    for name in ("victim.txt", "victim.selections.txt", f"{TABLE}", "victim.jsonl"):
        (outside / name).write_text("Selection\tBegin Path\n1\tmine\n")
    write(outside / "private.wav", 20)
    shutil.copytree(folder / "mail/run/scores", outside / "scores")
    return folder


@contextmanager
def _session(run):
    session = Session(run, "ana")
    try:
        yield session
    finally:
        session.close()


def changed_record(run, change) -> None:
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def in_each_row(**values):
    def way(run, outside):
        texts = {key: text and text.replace("OUTSIDE", str(outside)) for key, text in values.items()}
        changed_record(run, lambda record: [row.update(texts) for row in record["recordings"]])

    return way


def in_the_journal(change):
    """Changes the lines of the journal. Loxo writes them, so that each is valid."""

    def way(run, outside):
        opened = Journal(run / JOURNAL)
        opened.open(opened.parameters)
        for path, entry in list(opened.entries.items()):
            rows = opened.rows(path)
            opened.add(change(entry, outside), rows)
        opened.close()

    return way


def with_values(**values):
    def change(entry, outside):
        texts = {
            key: tuple((name.replace("OUTSIDE", str(outside)), 26) for name in value)
            if isinstance(value, tuple)
            else value.replace("OUTSIDE", str(outside))
            for key, value in values.items()
        }
        return dataclasses.replace(entry, size=entry.size + 1, **texts)  # another size: analysed again, files replaced

    return change


def link(name, target):
    def way(run, outside):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(outside / target, target_is_directory=(outside / target).is_dir())

    return way


def another_recording(run, outside):
    renamed = str(outside / "private.wav")
    before = json.loads((run / "run.json").read_text())["recordings"][0]["recording"]
    for path in (run / "run.json", run / "events.csv", run / "journal.jsonl"):
        path.write_text(path.read_text().replace(before, renamed))


def another_begin_path(run, outside):
    before = json.loads((run / "run.json").read_text())["recordings"][0]["recording"]
    for path in (run / "run.json", run / "events.csv", run / "journal.jsonl"):
        path.write_text(path.read_text().replace(before, f"gone/{NAME}.wav"))
    (run / TABLE).write_text(f"Selection\tBegin Path\n1\t{outside / 'private.wav'}\n")


def scores_elsewhere(run, outside):
    shutil.rmtree(run / "scores")
    changed_record(run, lambda record: record["parameters"].update(from_scores=str(outside)))


def a_thousand_drafts(run, outside):
    for name in ("run.json", "events.csv", "report.html", "journal.jsonl"):
        for process in range(max(os.getpid() - 3, 1), os.getpid() + 3):
            (run / f".{name}.{process}.tmp").symlink_to(outside / "victim.txt")


def everything_is_a_pipe(run, outside):
    for name in ("run.json", "events.csv", "journal.jsonl", TABLE, SCORES, ".lock"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)


WAYS = {
    "table with dots": in_each_row(table="tables/../../../home/outside/victim.selections.txt"),
    "table with an absolute path": in_each_row(table="OUTSIDE/victim.selections.txt"),
    "table with backslashes": in_each_row(table="tables\\..\\..\\..\\home\\outside\\victim.txt"),
    "table with a drive letter": in_each_row(table="C:victim.txt"),
    "table with NUL": in_each_row(table="tables/a\0b"),
    "name in the record with dots": in_each_row(table=None, name="../../../home/outside/tables/../../outside/victim"),
    "scores of another folder": scores_elsewhere,
    "another recording of the user": another_recording,
    "another recording in a table": another_begin_path,
    "files in the journal with dots": in_the_journal(with_values(files=("../../home/outside/victim.txt",))),
    "files in the journal with an absolute path": in_the_journal(with_values(files=("OUTSIDE/victim.txt",))),
    "name in the journal with dots": in_the_journal(with_values(name="../../../home/outside/victim")),
    "link in the place of the tables": link("tables", "tables"),
    "link in the place of a table": link(TABLE, "victim.selections.txt"),
    "link in the place of the scores": link("scores", "scores"),
    "link in the place of the journal": link("journal.jsonl", "victim.jsonl"),
    "link in the place of the record": link("run.json", "victim.txt"),
    "link in the place of the events": link("events.csv", "victim.txt"),
    "link in the place of the lock": link(".lock", "victim.txt"),
    "link in the place of the parts": link("parts", "tables"),
    "link in the place of a decision log": link("review/ana.jsonl", "victim.jsonl"),
    "link in the place of the reviews": link("review", "."),
    "link in the place of the exports": link("reviewed", "."),
    "links in the places of drafts": a_thousand_drafts,
    "pipes": everything_is_a_pipe,
}

_watched: list[Path] = []  # the folder outside, while a command runs
_seen: list[str] = []


def _watch(event: str, arguments: tuple) -> None:
    if not _watched or event not in _OPERATIONS:
        return
    for argument in arguments[: _OPERATIONS[event]]:
        if isinstance(argument, str | bytes | os.PathLike):
            path = Path(os.fsdecode(argument))
            # Opening is the only operation here that follows a link.
            path = path.resolve() if event == "open" else path.parent.resolve() / path.name
            if path.is_relative_to(_watched[0]):
                _seen.append(f"{event} {path}")


_OPERATIONS = {"open": 1, "os.remove": 1, "os.rename": 2, "os.link": 2, "os.mkdir": 1, "os.rmdir": 1, "os.scandir": 1}
sys.addaudithook(_watch)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(60)
@pytest.mark.skipif(os.name == "nt", reason="makes symbolic links and pipes")
@pytest.mark.parametrize("way", WAYS)
def test_a_way_out_of_a_run_folder_is_closed(folder, way):
    outside, run, card = folder / "home/outside", folder / "mail/run", folder / "home/card"
    truth = Path(shutil.copy(run / "events.csv", folder / "truth.csv"))
    WAYS[way](run, outside)
    before = contents(outside)
    recording = card / f"{NAME}.wav"

    def review() -> None:
        with _session(run) as session:
            session.act([{"row": 0, "verdict": "no"}])
            Media(session).sound(0, 0.0, 1.0, 1, False, None)

    commands = {
        "show": lambda: show(recording, folder / "a.png", duration=5, events=run / "events.csv", model="none"),
        "evaluate": lambda: evaluate([truth], [run]),
        "calibrate": lambda: calibrate("default", [truth], [card], folder / "a.safetensors"),
        "report": lambda: report(run),
        "review": review,
        "export": lambda: export(run),
        "scores": lambda: find_scores(run, str(recording)),
        "decode": lambda: redecode(run, folder / "decoded", threshold=0.05),
        "resume": lambda: survey([card], "fake", run, load=FakeModel, threshold=0.1, keep_scores=True),
    }
    if way != "another recording of the user":  # these two read tables only, and take long
        del commands["calibrate"], commands["show"]
    _seen.clear()
    for name, command in commands.items():
        _watched.append(outside.resolve())
        try:
            with suppress(LoxoError):
                command()
        finally:
            _watched.clear()
        assert (_seen, name) == ([], name)
        assert contents(outside) == before, name


def test_the_watch_reports_what_is_opened_and_removed(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    _seen.clear()
    _watched.append(tmp_path.resolve())
    (tmp_path / "link").read_text()
    (tmp_path / "a").unlink()
    _watched.clear()
    assert [line.split()[0] for line in _seen] == ["open", "os.remove"]


def test_nothing_is_requested_from_a_server_that_only_a_run_names(folder, serve, monkeypatch):
    run, path = folder / "mail/run", folder / "home/card" / f"{NAME}.wav"
    server = serve({f"/{NAME}.wav": path.read_bytes()})
    url = f"{server.url}/{NAME}.wav"
    for name in ("run.json", "events.csv"):
        (run / name).write_text((run / name).read_text().replace(str(path), url))

    def sound(recordings: str | None = None) -> None:
        session = Session(run, "ana", recordings)
        try:
            Media(session).sound(0, 0.0, 1.0, 1, False, None)
        finally:
            session.close()

    with pytest.raises(
        LoxoError, match=r"no request was sent to it\. If you trust the run, give --recordings http://127"
    ):
        sound()
    assert "no request was sent to it" in report(run).page.read_text()
    assert server.requests == []
    sound(f"{server.url}/")
    assert server.requests


def test_a_recording_is_opened_in_known_folders_only(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(roots, "_remembered", set())
    for name in ("card/a.wav", "private/b.wav", "mail/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "card/link.wav").symlink_to(tmp_path / "private/b.wav")
    (tmp_path / "mail/link.wav").symlink_to(tmp_path / "private/b.wav")
    (tmp_path / "mail/folder").symlink_to(tmp_path / "private")
    roots.remember([tmp_path / "card/a.wav", "s3://forest/site/a.wav"])
    monkeypatch.setattr(roots, "_remembered", set())  # another process
    known = roots.Roots([tmp_path / "mail"])
    inside = ["card/a.wav", "card/deeper/a.wav", "card/link.wav", "mail/c.wav", "card/../mail/c.wav"]
    outside = [
        "private/b.wav",
        "mail/link.wav",
        "mail/folder/b.wav",
        "mail/../private/b.wav",
        "card\0/a.wav",
        "card.wav",
    ]
    assert [name for name in (*inside, *outside) if str(tmp_path / name) in known] == inside
    assert "s3://forest/b.wav" in known and "S3://x@forest/b.wav" in known
    assert not any(url in known for url in ("s3://forest2/b.wav", "https://forest/b.wav", "http://[forest/b.wav"))
