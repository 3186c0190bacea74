"""Runs whose folder is an s3:// address: the same files, resumed from there, and nothing lost when uploads fail."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from fakes import CHUNK_S, BrokenModel, FakeModel, write

from loxo.audio import storage
from loxo.errors import LoxoError
from loxo.runs import remote, uploads
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey

FORMATS = "raven,audacity,kaleidoscope"


@pytest.fixture
def card(tmp_path):
    for k, seconds in enumerate((6, 2.5 * CHUNK_S, 4, 5)):
        write(tmp_path / "card" / f"site {k % 2}" / f"{k} ü.wav", seconds, seed=k)
    (tmp_path / "card" / "bad.wav").write_text("not audio")
    return tmp_path / "card"


@pytest.fixture
def run(card, tmp_path):
    """A run into an address, or a folder; it is told how many recordings it has analysed."""
    options = {"keep_scores": True, "formats": FORMATS, "shard_minutes": CHUNK_S / 60}
    return partial(survey, [card], "fake", load=FakeModel, work=tmp_path / "work", **options)


@pytest.fixture
def expected(run, tmp_path):
    run(tmp_path / "local", work=None)
    return {
        str(path.relative_to(tmp_path / "local")): path.read_bytes()
        for path in (tmp_path / "local").rglob("*")
        if path.is_file()
    }


def objects(address: str) -> dict[str, bytes]:
    return {url[len(address) + 1 :]: storage.read_bytes(url) for url in storage.list_names(address)}


def stop_after(count):
    def stop(progress):
        if progress.finished == count:
            raise KeyboardInterrupt

    return stop


def test_the_objects_at_the_address_equal_the_files_of_a_local_run(run, expected, s3, credentials, tmp_path):
    summary = run(s3.url("runs/march"))
    assert objects(s3.url("runs/march")) == expected
    assert summary.folder == s3.url("runs/march") and summary.recordings == 4
    assert not (tmp_path / "work").exists()  # everything is put
    again = run(s3.url("runs/march/"))
    assert again.resumed == 4 and objects(s3.url("runs/march")) == expected


def test_the_table_of_sites_is_at_the_address_and_a_resumed_run_uses_it(run, s3, credentials, tmp_path):
    out, table = s3.url("run"), tmp_path / "sites.csv"
    table.write_text("site,folder\nBai,site 0\n")
    run(out, sites=table)
    before = objects(out)
    assert before["sites.csv"] == table.read_bytes() and b",Bai," in before["events.csv"]
    assert run(out).resumed == 4 and objects(out) == before and not (tmp_path / "work").exists()


def test_an_interrupted_run_resumes_without_its_working_folder(run, expected, s3, credentials, tmp_path):
    out = s3.url("run")
    with pytest.raises(KeyboardInterrupt):
        run(out, on_progress=stop_after(3))
    assert json.loads(objects(out)["run.json"])["status"] == "interrupted"
    assert any(name.startswith("tables/") for name in objects(out))
    shutil.rmtree(tmp_path / "work")
    s3.server.requests.clear()
    assert run(out).resumed == 2  # the third is bad.wav
    assert objects(out) == expected
    assert s3.server.count("PUT", "/scores/") == 2  # what was there is not put again


def test_a_run_resumes_inside_a_long_recording_from_its_working_folder(run, expected, s3, credentials, tmp_path):
    parts = tmp_path / "work" / "parts"

    class Stopping(FakeModel):
        def logits(self, windows):
            if list(parts.rglob("*.npz")):
                raise KeyboardInterrupt
            return super().logits(windows)

    out = s3.url("run")
    with pytest.raises(KeyboardInterrupt):
        run(out, load=Stopping)
    assert len(list(parts.rglob("0000.npz"))) == 1 and not any(name.startswith("parts") for name in objects(out))
    run(out)
    assert objects(out) == expected and not parts.exists()


@pytest.mark.parametrize("full", ["/tables/", "journal"])
def test_the_next_call_repeats_failed_uploads(run, expected, s3, credentials, tmp_path, monkeypatch, full):
    out = s3.url("run")
    monkeypatch.setattr(remote, "JOURNAL_S", 0.0)
    s3.server.full = full
    with pytest.raises(LoxoError, match=r"could not be (uploaded|reached)") as caught:
        run(out)
    assert str(caught.value).startswith(out) and "\n" not in str(caught.value)
    assert set(objects(out)) < set(expected)
    assert all(objects(out)[name] == expected[name] for name in objects(out) if name.startswith(("tables", "scores")))
    s3.server.full = None
    calls = []

    class Counting(FakeModel):
        def logits(self, windows):
            calls.append(len(windows))
            return super().logits(windows)

    assert run(out, load=Counting).resumed == 4 and not calls
    assert objects(out) == expected and not (tmp_path / "work").exists()


def test_few_uploads_are_attempted_while_the_storage_does_not_answer(tmp_path, s3, credentials):
    for k in range(40):
        (tmp_path / f"{k}.txt").write_text(str(k))
    s3.server.full = "run"
    putting = uploads.Uploads(tmp_path, s3.url("run"), {})
    for k in range(40):
        putting.put(f"{k}.txt")
    with pytest.raises(LoxoError, match=r"40 files of the run could not be uploaded"):
        putting.finish()
    assert s3.server.count("PUT") <= 2 * uploads.THREADS * 8
    s3.server.full = None
    putting.finish()
    assert len(objects(s3.url("run"))) == 40 and putting.sizes["39.txt"] == 2 and not list(tmp_path.iterdir())


def test_an_address_that_cannot_be_written_ends_the_run_before_it_begins(run, s3, credentials, tmp_path):
    with pytest.raises(LoxoError, match="no bucket"):
        run("s3://no-such-bucket/run", load=lambda: BrokenModel())
    assert not (tmp_path / "work").exists()


def test_an_address_with_other_objects_or_another_run_is_refused(run, s3, credentials, tmp_path):
    s3.put("thesis/chapter1.txt", b"...")
    with pytest.raises(LoxoError, match="no run of Loxo"):
        run(s3.url("thesis"))
    assert list(objects(s3.url("thesis"))) == ["chapter1.txt"]
    out = s3.url("run")
    with pytest.raises(KeyboardInterrupt):
        run(out, on_progress=stop_after(2))
    for work in ("work", "other"):
        with pytest.raises(LoxoError, match=rf"{out}: the folder contains a run with other parameters \(threshold"):
            run(out, threshold=0.7, work=tmp_path / work)
    run(out)


def test_another_run_that_writes_to_the_same_address_is_detected(run, s3, credentials, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "JOURNAL_S", 0.0)
    out = s3.url("run")

    def another(progress):
        if progress.finished == 2:
            run(out, work=tmp_path / "elsewhere")

    with pytest.raises(LoxoError, match="another run has written to this address"):
        run(out, on_progress=another)
    assert run(out).resumed == 4


def test_a_resumed_run_writes_other_formats_and_missing_tables(run, expected, s3, credentials):
    out = s3.url("run")
    run(out, formats="csv")
    assert not any(name.startswith(("tables", "labels")) for name in objects(out))
    assert run(out).resumed == 4
    same = {name for name in expected if name != "journal.jsonl"}
    assert {name: objects(out)[name] for name in same} == {name: expected[name] for name in same}
    storage.remove(f"{out}/labels/site 0/0 ü.labels.txt")
    assert run(out).resumed == 4 and set(objects(out)) == set(expected)


def test_a_run_is_decoded_again_to_an_address_with_a_working_folder_in_the_cache(
    run, s3, credentials, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run(tmp_path / "local", work=None)
    redecode(tmp_path / "local", tmp_path / "again", threshold=0.2)
    redecode(tmp_path / "local", s3.url("again"), threshold=0.2)
    assert objects(s3.url("again"))["events.csv"] == (tmp_path / "again/events.csv").read_bytes()
    assert remote.default_work(s3.url("again")).parent == tmp_path / "cache" / "loxo" / "runs"
    assert list(Path(tmp_path / "cache" / "loxo" / "runs").iterdir()) == []


def test_the_command_prints_the_address_of_the_run(loxo, s3, credentials, tmp_path):
    write(tmp_path / "a.wav", 25, rate=4000)
    command = ("detect", tmp_path / "a.wav", "--out", s3.url("run"), "--work", tmp_path / "work", "--workers", 1)
    code, out, _ = loxo(*command)
    assert code == 0 and f"{s3.url('run')}" in out and "tables/a.selections.txt" in objects(s3.url("run"))
    s3.server.full = "run/"
    code, _, err = loxo(*command[:3], s3.url("run/2"), *command[4:])
    assert code == 2 and "could not be reached" in err and "Traceback" not in err


@pytest.mark.parametrize(("damage", "resumed"), [("run.json lost", 2), ("journal damaged", 1)])
def test_a_damaged_run_at_an_address_resumes_without_its_working_folder(
    run, expected, s3, credentials, tmp_path, damage, resumed
):
    out = s3.url("run")
    with pytest.raises(KeyboardInterrupt):
        run(out, on_progress=stop_after(3))
    shutil.rmtree(tmp_path / "work")
    if damage == "run.json lost":
        storage.remove(f"{out}/run.json")
    else:
        lines = objects(out)["journal.jsonl"].splitlines(keepends=True)
        lines[2] = lines[2].replace(b'"', b"'", 1)  # after the parameters and bad.wav
        storage.write_bytes(f"{out}/journal.jsonl", b"".join(lines))
    with pytest.raises(LoxoError, match=r"other parameters \(threshold None is now 0\.7"):
        run(out, threshold=0.7, work=tmp_path / "other")
    assert run(out).resumed == resumed and objects(out) == expected
