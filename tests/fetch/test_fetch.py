"""Fetching recordings named in tables, from an archive that fails on purpose."""

import io
import json
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo import cli, read_raven
from loxo.audio import remote
from loxo.audio.recording import read
from loxo.errors import LoxoError
from loxo.fetch import download
from loxo.fetch import fetch as fetching
from loxo.fetch.fetch import fetch
from loxo.files import sha256_of

pytestmark = pytest.mark.usefixtures("loopback")
RATE = 4000
NAMES = ("nn01a_20180126_000000.wav", "nn01b_20180127_000000.wav", "nn02a_20180126_010000.wav")
HEADER = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tBegin File\tTag 1\n"


def sound(seconds: float = 60, seed: int = 0) -> bytes:
    samples = np.random.default_rng(seed).integers(-32768, 32767, int(seconds * RATE), dtype=np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def table(path: Path, *rows: tuple[str, float, float], tag: str = "") -> Path:
    """Writes rows of recording, file offset and duration; begin times are cumulative, as in the archive's tables."""
    lines = [
        f"{k}\tSpectrogram 1\t{86400 * k + offset}\t{86400 * k + offset + length}\t"
        f"L:\\ELP\\{name}\t{offset}\t{name}\t{tag}"
        for k, (name, offset, length) in enumerate(rows, 1)
    ]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def archive(s3):
    """Three recordings of one minute in a bucket with the layout of the public one."""
    contents = {}
    for seed, name in enumerate(NAMES):
        contents[name] = sound(seed=seed)
        s3.put(f"recordings/wav/{name[:5]}/{name}", contents[name])
    s3.contents = contents
    s3.options = {"bucket": s3.url().rstrip("/")}
    return s3


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_recordings_in_tables_are_fetched_and_missing_ones_are_reported(archive, tmp_path, monkeypatch, capsys):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3), (NAMES[0], 20, 3), ("nn09z_20180101_000000.wav", 5, 2))
    two = table(tmp_path / "two.txt", (NAMES[1], 0, 86400), tag="DUMMY_NoEles")
    command = ["loxo", "fetch", "elp", "--tables", one, two, "--dest", tmp_path / "elp", "--bucket", s3_url(archive)]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out, err = capsys.readouterr()
    assert stopped.value.code == 1 and "1 missing" in out and "Traceback" not in err
    assert "1 recordings are not in the archive: nn09z_20180101_000000.wav" in err.replace("\n", " ")
    assert sorted(path.name for path in (tmp_path / "elp").iterdir()) == ["fetch.json", NAMES[0], NAMES[1]]
    for name in NAMES[:2]:
        assert (tmp_path / "elp" / name).read_bytes() == archive.contents[name]
    record = json.loads((tmp_path / "elp" / "fetch.json").read_text())
    assert record["missing"] == ["nn09z_20180101_000000.wav"]
    assert record["files"][NAMES[0]]["sha256"] == sha256_of(tmp_path / "elp" / NAMES[0])
    assert record["files"][NAMES[0]]["source"] == archive.url(f"recordings/wav/nn01a/{NAMES[0]}")


def s3_url(archive) -> str:
    return archive.options["bucket"]


def test_a_second_fetch_downloads_only_changed_files(archive, tmp_path):
    one = table(tmp_path / "one.txt", *((name, 10, 3) for name in NAMES))
    first = fetch([one], tmp_path / "elp", **archive.options)
    assert (first.recordings, first.resumed, first.missing, first.problems) == (3, 0, [], [])
    archive.server.reset()
    again = fetch([one], tmp_path / "elp", **archive.options)
    assert (again.recordings, again.resumed, again.bytes) == (3, 3, first.bytes)
    assert not archive.server.requests, "unchanged files need no request"
    changed = tmp_path / "elp" / NAMES[1]
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    (tmp_path / "elp" / NAMES[2]).unlink()
    third = fetch([one], tmp_path / "elp", **archive.options)
    assert (third.recordings, third.resumed) == (3, 1)
    assert sum("was changed" in note and NAMES[1] in note for note in third.notes) == 1 and not third.problems
    for name in NAMES:
        assert (tmp_path / "elp" / name).read_bytes() == archive.contents[name]
    with pytest.raises(LoxoError, match="other parameters"):
        fetch([one], tmp_path / "elp", bucket="s3://another")


@pytest.mark.parametrize("how", ["no answer", "Ctrl-C"])
def test_an_interrupted_download_is_resumed(archive, tmp_path, monkeypatch, how):
    monkeypatch.setattr(download, "CHUNK_BYTES", 65536)
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    dest = tmp_path / "elp"
    if how == "Ctrl-C":

        def interrupt(progress):
            if progress.bytes >= 3 * 65536:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch([one], dest, on_progress=interrupt, **archive.options)
    else:
        archive.server.script.extend([None, "503", None, "reset", "short", None, *["503"] * remote.ATTEMPTS])
        summary = fetch([one], dest, **archive.options)
        assert summary.recordings == 0 and "attempts" in summary.problems[0]
    assert len(hidden(dest)) == 1 and not (dest / NAMES[0]).exists()
    assert (dest / hidden(dest)[0]).stat().st_size == 3 * 65536
    archive.server.reset()
    assert fetch([one], dest, **archive.options).problems == []
    assert (dest / NAMES[0]).read_bytes() == archive.contents[NAMES[0]] and not hidden(dest)
    assert archive.server.bytes_sent == len(archive.contents[NAMES[0]]) - 3 * 65536


def test_data_of_two_versions_are_never_joined(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CHUNK_BYTES", 65536)
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    archive.server.script.extend([None, None, *["500"] * remote.ATTEMPTS])
    fetch([one], tmp_path / "elp", **archive.options)
    archive.put(f"recordings/wav/nn01a/{NAMES[0]}", sound(seed=9))
    fetch([one], tmp_path / "elp", **archive.options)
    assert (tmp_path / "elp" / NAMES[0]).read_bytes() == sound(seed=9) and not hidden(tmp_path / "elp")


def test_a_wrong_copy_is_downloaded_once_more_and_then_reported(archive, tmp_path):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    archive.server.script.append("flip")
    assert fetch([one], tmp_path / "elp", **archive.options).problems == []
    assert (tmp_path / "elp" / NAMES[0]).read_bytes() == archive.contents[NAMES[0]]
    archive.server.script.extend(["flip", "flip"])
    summary = fetch([one], tmp_path / "other", **archive.options)
    assert "different MD5" in summary.problems[0] and summary.recordings == 0
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["fetch.json"]


def test_a_server_with_a_wrong_size_is_reported(serve, tmp_path):
    server = serve({f"/recordings/wav/nn01a/{NAMES[0]}": sound()}, ranges=False)
    lies = True

    class Lies(server.RequestHandlerClass):
        def own(self):
            status, headers, data = super().own()
            return status, headers, data + b"more" * (self.command == "HEAD" and lies)

    server.RequestHandlerClass = Lies
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    summary = fetch([one], tmp_path / "elp", bucket=server.url)
    assert "bytes instead of" in summary.problems[0]
    lies = False
    assert fetch([one], tmp_path / "elp", bucket=server.url).problems == []
    assert (tmp_path / "elp" / NAMES[0]).read_bytes() == sound()


def test_too_little_disk_space_raises_before_the_download(archive, tmp_path, monkeypatch):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(LoxoError, match=r"only 0\.0 GB free"):
        fetch([one], tmp_path / "elp", **archive.options)
    assert archive.server.count("GET") == 0


@pytest.mark.parametrize("windows", [False, True])
def test_a_full_disk_raises_and_the_same_command_resumes(archive, tmp_path, windows):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 40))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a limit on the file size simulates a full disk
    try:
        with pytest.raises(LoxoError, match=r"the disk is full\. Free some space"):
            fetch([one], tmp_path / "elp", windows=windows, **archive.options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "elp").glob("n*"))
    assert fetch([one], tmp_path / "elp", windows=windows, **archive.options).problems == []


def test_an_archive_without_an_answer_ends_the_fetch(archive, tmp_path):
    one = table(tmp_path / "one.txt", *((name, 10, 3) for name in NAMES))
    archive.server.script.extend(["503"] * 3 * remote.ATTEMPTS)
    with pytest.raises(LoxoError, match="3 recordings in a row"):
        fetch([one], tmp_path / "elp", **archive.options)
    archive.server.reset()
    assert fetch([one], tmp_path / "elp", **archive.options).recordings == 3


def test_files_that_are_not_in_the_state_file_are_kept(archive, tmp_path):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3), (NAMES[1], 10, 3))
    (tmp_path / "elp").mkdir()
    (tmp_path / "elp" / NAMES[0]).write_bytes(b"my own")
    (tmp_path / "elp" / NAMES[1]).write_bytes(archive.contents[NAMES[1]])
    summary = fetch([one], tmp_path / "elp", **archive.options)
    assert "exists already" in summary.problems[0] and summary.recordings == 1
    assert (tmp_path / "elp" / NAMES[0]).read_bytes() == b"my own" and archive.server.count("GET") == 0


def test_rename_limit_and_a_name_without_site(archive, tmp_path):
    archive.put("recordings/wav/dz01/dz01_20180126_000000.wav", sound(1))
    one = table(tmp_path / "one.txt", ("dzan01_20180126_000000.wav", 0, 0.5), ("mystery.wav", 1, 2), (NAMES[0], 1, 2))
    summary = fetch([one], tmp_path / "elp", rename={"dzan": "dz"}, limit=1, **archive.options)
    assert [path.name for path in (tmp_path / "elp").glob("*.wav")] == ["dz01_20180126_000000.wav"]
    assert len(summary.problems) == 1 and "contains no site" in summary.problems[0]
    with pytest.raises(LoxoError, match="Give an s3:// or https:// address"):
        fetch([one], tmp_path / "elp", bucket="/mnt/archive")


def test_clips_have_the_same_samples_and_tables_place_events_in_them(archive, tmp_path):
    calls = [(NAMES[0], 10.25, 2), (NAMES[0], 14, 2.5), (NAMES[0], 40.5, 3), (NAMES[2], 58.5, 9), (NAMES[2], 70, 1)]
    one = table(tmp_path / "calls.txt", *calls)
    two = table(tmp_path / "shots.txt", (NAMES[0], 12.5, 0.9))
    none = table(tmp_path / "none.txt", (NAMES[1], 0, 86400), tag="DUMMY_NoEles")
    options = {"tables": [one, two, none], "dest": tmp_path / "cut", "windows": True, "margin_s": 2}
    dest = tmp_path / "cut"
    summary = fetch(**options, **archive.options)
    names = {
        "nn01a_20180126_000008.flac": (NAMES[0], 8, 19),
        "nn01a_20180126_000038.flac": (NAMES[0], 38, 46),
        "nn02a_20180126_010056.flac": (NAMES[2], 56, 60),
    }
    assert {path.name for path in dest.glob("*.flac")} == set(names)
    for name, (source, start, stop) in names.items():
        given, rate = soundfile.read(dest / name, dtype="int16")
        whole = np.frombuffer(archive.contents[source][44:], np.int16)
        assert rate == RATE
        np.testing.assert_array_equal(given, whole[start * RATE : stop * RATE])
    placed = read_raven(dest / "tables" / "calls.txt")
    assert [(Path(r).name, s, e) for r, s, e in placed[["recording", "start_s", "end_s"]].to_numpy()] == [
        ("nn01a_20180126_000008.flac", 2.25, 4.25),
        ("nn01a_20180126_000008.flac", 6.0, 8.5),
        ("nn01a_20180126_000038.flac", 2.5, 5.5),
        ("nn02a_20180126_010056.flac", 2.5, 4.0),
    ]
    assert sum("1 of 5 events have no clip" in problem for problem in summary.problems) == 1
    assert str(placed["start_time"][0]) == "2018-01-26 00:00:10.250000", "the wall clock time is kept"
    shot = read_raven(dest / "tables" / "shots.txt").iloc[0]
    assert (Path(shot["recording"]).name, shot["start_s"]) == ("nn01a_20180126_000008.flac", 4.5)
    (tmp_path / "whole.wav").write_bytes(archive.contents[NAMES[0]])
    np.testing.assert_array_equal(
        read(shot["recording"], RATE, 4.5, 0.9), read(tmp_path / "whole.wav", RATE, 12.5, 0.9)
    )
    assert not hidden(dest)
    before = {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()}
    archive.server.reset()
    again = fetch(**options, **archive.options)
    assert again.resumed == 2 and not archive.server.requests
    assert {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()} == before
    with pytest.raises(LoxoError, match=r"other parameters .margin_s"):
        fetch(**{**options, "margin_s": 5}, **archive.options)


def test_clips_need_few_bytes_of_a_long_recording_and_are_resumed(archive, tmp_path):
    name = "nn03a_20180126_000000.wav"
    archive.put(f"recordings/wav/nn03a/{name}", sound(1800))
    one = table(tmp_path / "one.txt", (name, 600, 3), (NAMES[0], 30, 3), (name, 1200, 3))
    archive.server.script.extend([None, None, None, *["503"] * remote.ATTEMPTS])
    first = fetch([one], tmp_path / "cut", windows=True, margin_s=5, **archive.options)
    assert first.recordings == 1 and len(first.problems) == 2 and "attempts" in first.problems[0]
    archive.server.reset()
    second = fetch([one], tmp_path / "cut", windows=True, margin_s=5, **archive.options)
    assert (second.recordings, second.resumed, second.problems) == (2, 1, [])
    assert archive.server.bytes_sent < 600_000
    assert len(read_raven(tmp_path / "cut" / "tables" / "one.txt")) == 3


@pytest.mark.parametrize(
    "end", ["..", "%2e%2e", "a%5c..%5cb.wav", "C%3ab.wav", "a%00b.wav", "fetch.json", "tables", "."]
)
def test_a_name_that_no_file_can_have_is_a_problem(serve, tmp_path, end):
    server = serve()
    one = table(tmp_path / "one.txt")
    one.write_text(
        f"Begin Time (s)\tEnd Time (s)\tBegin Path\n1\t2\t{server.url}/x/{end}\n1\t2\t{server.url}/gone.wav\n"
    )
    summary = fetch([one], tmp_path / "in/elp", bucket=server.url)
    assert ["has no name that a file can have" in sentence for sentence in summary.problems] == [True]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["elp"]
    assert all("/x/" not in path for _, path, _ in server.requests)


def test_a_state_file_of_a_stranger_leads_to_no_other_file(archive, tmp_path):
    one = table(tmp_path / "one.txt", (NAMES[0], 10, 3))
    fetch([one], tmp_path / "elp", **archive.options)
    state = tmp_path / "elp/fetch.json"
    good = json.loads(state.read_text())
    entry = good["files"][NAMES[0]]
    for files in ({"../one.txt": entry}, {"/etc/passwd": entry}, {NAMES[0]: {}}, {NAMES[0]: 3}):
        state.write_text(json.dumps({**good, "files": files}))
        with pytest.raises(LoxoError, match="not a state file"):
            fetch([one], tmp_path / "elp", **archive.options)
    for content in ("[" * 200_000, "1" * 5000):
        state.write_text(content)
        with pytest.raises(LoxoError, match="not a state file"):
            fetch([one], tmp_path / "elp", **archive.options)
    state.write_text(json.dumps(good))
    (tmp_path / "elp" / NAMES[0]).unlink()
    (tmp_path / "elp" / NAMES[0]).symlink_to(tmp_path / "mine.wav")
    with pytest.raises(LoxoError, match="a symbolic link leads out"):
        fetch([one], tmp_path / "elp", **archive.options)
    assert not (tmp_path / "mine.wav").exists()
