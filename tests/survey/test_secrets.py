"""Passwords, signatures and tokens in URLs reach no file and no message, and the run resumes with others."""

import zipfile
from pathlib import Path

import pytest
from fakes import FakeModel, write

from loxo.detection.detect import detect
from loxo.errors import LoxoError
from loxo.fetch.fetch import fetch
from loxo.survey.survey import survey

pytestmark = pytest.mark.usefixtures("loopback")
NAME = "nn01_20200101_000000.wav"
FORMATS = "raven,csv,audacity,kaleidoscope"


@pytest.fixture
def site(serve, tmp_path):
    """A server with a recording at signed addresses and one behind a login."""
    data = write(tmp_path / NAME, 20).read_bytes()
    signed = {f"/{NAME}?id=3&X-Amz-Signature=hunter{n}": data for n in (2, 3)}
    return serve({**signed, "/login.wav": data, f"/recordings/wav/nn01/{NAME}": data})


def assert_no_secret(folder: Path, *texts: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                content = b"".join(map(archive.read, archive.namelist()))
        assert b"hunter" not in content, path
    assert not any("hunter" in text for text in texts)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_contains_no_secret_and_resumes_with_a_new_signature(site, tmp_path, workers):
    host = site.url.removeprefix("http://")
    options = {"load": FakeModel, "threshold": 0.1, "keep_scores": True, "formats": FORMATS, "workers": workers}
    shown: list[str] = []

    def call(number: int):
        urls = [
            f"{site.url}/{NAME}?id=3&X-Amz-Signature=hunter{number}",
            f"http://user:hunter{number}@{host}/login.wav",
            f"http://user:hunter{number}@{host}/gone.wav?token=hunter{number}",
            f"http://hunter{number}:x/y@{host}:bad/z.wav",
        ]
        return survey(urls, "fake", tmp_path / "run", on_progress=lambda at: shown.append(str(at)), **options)

    first = call(2)
    assert (first.recordings, first.resumed, len(first.problems)) == (2, 0, 2) and first.events > 0
    assert any(site.authorised) and "gone.wav: the server has no such file" in str(first.problems)
    assert call(3).resumed == 2
    table = (tmp_path / "run/events.csv").read_text()
    assert f"{site.url}/{NAME}?id=3," in table and f"{site.url}/login.wav," in table
    assert_no_secret(tmp_path / "run", *shown, str(first), repr(first))


def test_two_recordings_that_differ_in_hidden_fields_only_are_reported(site, tmp_path):
    urls = [f"{site.url}/{NAME}?id=3&X-Amz-Signature=hunter{n}" for n in (2, 3)]
    summary = survey(urls, "fake", tmp_path / "run", load=FakeModel)
    assert summary.recordings == 1 and "was given twice" in summary.problems[0][1]
    assert_no_secret(tmp_path / "run", repr(summary))


def test_the_screen_shows_no_secret(site, tmp_path, loxo):
    host = site.url.removeprefix("http://")
    for url in (f"http://user:hunter2@{host}/gone.wav?sig=hunter2", f"http://user:hunter2@{host}/empty/?sig=hunter2"):
        code, out, err = loxo("detect", url, "--out", str(tmp_path / "run"))
        assert code and "hunter" not in out + err and host in out + err
    code, out, err = loxo("detect", str(tmp_path), "--out", "https://u:hunter2@a.org/run?token=hunter2")
    assert (
        code
        and "hunter" not in out + err
        and "https://a.org/run: a run cannot be written there" in " ".join(err.split())
    )


def test_the_events_of_one_recording_contain_no_secret(site):
    events = detect(f"{site.url}/{NAME}?id=3&X-Amz-Signature=hunter2", FakeModel(), threshold=0.1)
    assert set(events["recording"]) == {f"{site.url}/{NAME}?id=3"}
    with pytest.raises(LoxoError) as caught:
        detect(f"{site.url}/{NAME}?id=3&X-Amz-Signature=hunter4", FakeModel())
    assert "hunter" not in str(caught.value)


def test_a_fetch_contains_no_secret_and_resumes(site, tmp_path):
    host = site.url.removeprefix("http://")
    for number in (2, 3):
        table = tmp_path / "calls.txt"
        table.write_text(
            "Begin Time (s)\tEnd Time (s)\tBegin Path\n"
            f"7\t8\t{site.url}/{NAME}?id=3&X-Amz-Signature=hunter{number}\n"
            f"7\t8\thttp://user:hunter{number}@{host}/login.wav\n"
            f"7\t8\thttp://user:hunter{number}@{host}/gone.wav?sig=hunter{number}\n"
        )
        archive = f"http://user:hunter{number}@{host}"
        made = fetch([table], tmp_path / "all", bucket=archive)
        assert (made.recordings, made.resumed) == (2, 0 if number == 2 else 2)
        assert_no_secret(tmp_path / "all", repr(made))
    fetch([table], tmp_path / "clips", bucket=archive, windows=True, margin_s=1)
    assert_no_secret(tmp_path / "clips")
