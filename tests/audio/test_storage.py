"""Local paths and URLs with one interface, tested with an S3 server and web servers that fail on purpose."""

import builtins
import io
import os
import sys

import numpy as np
import pytest
import soundfile

from loxo.audio import remote, storage
from loxo.audio.finding import find_recordings, list_recordings
from loxo.audio.recording import RecordingError, probe, read, stream
from loxo.audio.remote import StorageError

pytestmark = pytest.mark.usefixtures("loopback")
RATE = 4000


def noise(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


def sound(samples: np.ndarray, rate: int = RATE, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


def test_paths_and_urls_are_recognised_joined_and_split(tmp_path):
    assert storage.is_url("s3://b/k") and storage.is_url("HTTPS://h/k") and not storage.is_url(tmp_path)
    assert storage.join("s3://b/run/", "tables", "a.txt") == "s3://b/run/tables/a.txt"
    assert storage.join(tmp_path, "a", "b") == str(tmp_path / "a" / "b")
    assert storage.basename("https://h/x/a%20b.wav?sig=1/2") == "a b.wav"
    assert storage.basename("s3://b/x/a#1.wav") == "a#1.wav" == storage.basename(r"L:\ELP\a#1.wav")


def test_local_files_have_the_same_interface(tmp_path):
    path = tmp_path / "new" / "a.bin"
    assert not storage.exists(path)
    with pytest.raises(StorageError, match="cannot be opened") as caught:
        storage.read_bytes(path)
    assert caught.value.missing
    storage.write_bytes(path, b"abc")
    assert storage.read_bytes(str(path)) == b"abc" and storage.size_and_version(path)[0] == 3
    before = storage.size_and_version(path)
    os.utime(path, (1, 1))
    assert storage.size_and_version(path) != before
    storage.remove(path)
    storage.remove(path)
    assert not storage.exists(path)


def test_objects_are_written_read_listed_and_removed(s3, credentials):
    url = s3.url("run/tables/a b+ü.txt")
    assert not storage.exists(url)
    storage.write_bytes(url, b"abc" * 1000)
    assert storage.read_bytes(url) == b"abc" * 1000 and storage.exists(url)
    size, version = storage.size_and_version(url)
    assert size == 3000 and storage.list_names(s3.url("run")) == [url]
    storage.write_bytes(url, b"")
    assert storage.read_bytes(url) == b"" and storage.size_and_version(url) != (size, version)
    storage.remove(url)
    storage.remove(url)
    assert not storage.exists(url) and storage.list_names(s3.url()) == []


def test_recordings_are_found_by_prefixes_patterns_and_lists(s3, tmp_path, monkeypatch):
    for key in ("nn01/a.wav", "nn01/b.WAV", "nn01/.c.wav", "nn010/d.flac", "nn01/x/e.mp3", "nn01/notes.txt"):
        s3.put(key, key.encode())
    s3.put("lists/all.txt", f"# a list\n{s3.url('nn01/a.wav')}\n\n{s3.url('nn010')}\n".encode())
    urls = lambda *keys: [s3.url(key) for key in keys]  # noqa: E731
    assert find_recordings([s3.url("nn01")]) == (urls("nn01/a.wav", "nn01/b.WAV", "nn01/x/e.mp3"), [])
    requests = len(s3.server.requests)
    assert storage.size_and_version(s3.url("nn01/a.wav"))[0] == len("nn01/a.wav")
    assert len(s3.server.requests) == requests, "the listing contains the size, so no request is made"
    assert list_recordings(s3.url("nn01*/*")) == urls("nn01/a.wav", "nn01/b.WAV", "nn010/d.flac")
    assert list_recordings(s3.url("**/[ed].*")) == urls("nn01/x/e.mp3", "nn010/d.flac")
    assert find_recordings([s3.url("lists/all.txt")])[0] == urls("nn01/a.wav", "nn010/d.flac")
    (tmp_path / "z.wav").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "y.wav").touch()
    (tmp_path / "mine.lst").write_text(f"z.wav\nsub/*.wav\ngone.wav\n{s3.url('nn01/a.wav')}\n")
    found, problems = find_recordings([tmp_path / "mine.lst", s3.url("nothing/"), "s3://no-such-bucket/x/"])
    assert found == [tmp_path / "sub" / "y.wav", tmp_path / "z.wav", s3.url("nn01/a.wav")]
    assert [str(path) for path, _ in problems] == ["gone.wav", s3.url("nothing/"), "s3://no-such-bucket/x/"]
    assert "no bucket" in problems[2][1]
    assert find_recordings([str(tmp_path / "**" / "*.wav")])[0] == [tmp_path / "sub" / "y.wav", tmp_path / "z.wav"]
    assert "matches this pattern" in find_recordings([str(tmp_path / "*.flac")])[1][0][1]


def test_all_pages_of_a_listing_are_read(s3, monkeypatch):
    import s3fs

    original = s3fs.S3FileSystem._call_s3

    async def two_a_page(
        self, method, **kwargs
    ):  # the server's limit of a thousand objects per page is too slow to test
        return await original(self, method, **({**kwargs, "MaxKeys": 2} if method == "list_objects_v2" else kwargs))

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", two_a_page)
    urls = [s3.put(f"many/{k}.wav", b"x") for k in range(5)]
    assert list_recordings(s3.url("many/")) == urls
    assert s3.server.count("GET", "list-type=2") == 3


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("where", ["s3", "web"])
def test_an_excerpt_needs_few_bytes_and_requests(s3, serve, tmp_path, where, suffix):
    hours = 1 if suffix == "wav" else 0.5
    samples = noise(hours * 3600)
    data = sound(samples, subtype="PCM_16", format=suffix.upper())
    (tmp_path / f"a.{suffix}").write_bytes(data)
    if where == "s3":
        server, url = s3.server, s3.put(f"a.{suffix}", data)
    else:
        server = serve({f"/a.{suffix}": data})
        url = f"{server.url}/a.{suffix}"
    recording = probe(url)
    assert recording.path == url and recording.frames == len(samples) and recording.fault is None
    header = server.bytes_sent
    assert header < 300_000
    window = read(recording, RATE, 1321.5, 20.0)
    np.testing.assert_array_equal(window, read(tmp_path / f"a.{suffix}", RATE, 1321.5, 20.0))
    assert server.bytes_sent - header < (300_000 if suffix == "wav" else 1_500_000) < len(data) / 4
    if suffix == "wav":
        assert server.count("GET") == 2, "one request for the header, one for the excerpt"


def test_streaming_a_whole_object_needs_few_requests(s3, tmp_path):
    data = sound(noise(1800, 8000), 8000, subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes(data)
    url = s3.put("a.wav", data)
    given = np.concatenate(list(stream(probe(url), RATE)))
    np.testing.assert_array_equal(given, np.concatenate(list(stream(probe(tmp_path / "a.wav"), RATE))))
    assert s3.server.count("GET") < 15 and s3.server.bytes_sent < 1.01 * len(data)


@pytest.mark.parametrize("where", ["s3", "web"])
@pytest.mark.parametrize("fault", ["503", "500", "reset", "short", "silence"])
def test_transient_errors_are_retried(s3, serve, monkeypatch, where, fault):
    samples = noise(60)
    data = sound(samples, subtype="FLOAT")
    server = s3.server if where == "s3" else serve({"/a.wav": data})
    url = s3.put("a.wav", data) if where == "s3" else f"{server.url}/a.wav"
    if fault == "silence":
        from loxo.audio import s3 as s3_module
        from loxo.audio import web

        monkeypatch.setattr(s3_module, "READ_TIMEOUT_S", 0.3)
        monkeypatch.setattr(web, "READ_TIMEOUT_S", 0.3)
        server.script.extend([None, fault])
    else:
        server.script.extend([fault, fault, None, fault, fault, fault, None])
    np.testing.assert_array_equal(read(url, RATE), samples)
    assert not server.script


@pytest.mark.parametrize("where", ["s3", "web"])
def test_a_server_that_fails_permanently_raises_a_transient_error(s3, serve, where, capfd):
    data = sound(noise(60))
    server = s3.server if where == "s3" else serve({"/a.wav": data})
    url = s3.put("a.wav", data) if where == "s3" else f"{server.url}/a.wav"
    recording = probe(url)
    server.script.extend(["503"] * remote.ATTEMPTS)
    blocks = stream(recording, RATE, block_s=1)
    with pytest.raises(RecordingError, match=f"{remote.ATTEMPTS} attempts .503") as caught:
        list(blocks)
    assert caught.value.transient and str(caught.value).startswith(url)
    assert 0 < blocks.samples < 60 * RATE and not server.script
    storage.clear_caches()
    server.script.extend(["503"] * remote.ATTEMPTS)
    with pytest.raises(RecordingError, match="attempts"):
        probe(url)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_closed_port_raises_a_transient_error(serve):
    server = serve()
    server.stop()
    for url in (f"{server.url}/a.wav", "s3://bucket/a.wav"):  # the loopback fixture's endpoint is also a closed port
        with pytest.raises(StorageError, match="could not be reached") as caught:
            storage.info(url)
        assert caught.value.transient


def test_permanent_errors_are_not_retried(s3, serve, credentials, monkeypatch):
    s3.put("secret.wav", b"x", public=False)
    cases = [(s3.url("none.wav"), "no such object"), ("s3://no-such-bucket/a.wav", "no bucket 'no-such-bucket'")]
    web = serve({"/a.wav": b"x"})
    cases.append((f"{web.url}/b.wav", "no such file"))
    for url, sentence in cases:
        with pytest.raises(RecordingError, match=sentence) as caught:
            probe(url)
        assert str(caught.value).startswith(url) and "\n" not in str(caught.value) and not caught.value.transient
        assert not storage.exists(url)
    assert s3.server.count("GET", "none.wav") == 1 and web.count("GET") == 1
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(RecordingError, match="anonymous requests have no access"):
        probe(s3.url("secret.wav"))
    with pytest.raises(StorageError, match="not a valid address"):
        storage.info("s3://Not a bucket/x")
    with pytest.raises(StorageError, match="does not write to web servers"):
        storage.write_bytes(f"{web.url}/c.wav", b"x")


def test_requests_are_anonymous_without_credentials_or_if_credentials_are_refused(s3, serve, monkeypatch):
    url = s3.put("a.wav", sound(noise(5)))
    assert len(read(url, RATE)) == 5 * RATE and not any(s3.server.authorised)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXPIRED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    pick = serve(upstream=s3.server.upstream)
    original = pick.RequestHandlerClass.passed_on

    class Refuses(pick.RequestHandlerClass):
        def passed_on(self, body):
            if "Authorization" in self.headers:
                return 403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>"
            return original(self, body)

    pick.RequestHandlerClass = Refuses
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", pick.url)
    storage.clear_caches()
    assert len(read(url, RATE)) == 5 * RATE
    assert pick.authorised[0] and not any(pick.authorised[1:]), "only one request with credentials"


def test_an_object_from_a_server_without_byte_ranges_is_copied_once(serve):
    samples = noise(120)
    data = sound(samples, subtype="FLOAT")
    server = serve({"/a.wav": data, "/small.wav": data[:20000]}, ranges=False)
    recording = probe(f"{server.url}/a.wav")
    np.testing.assert_array_equal(read(recording, RATE, 100, 10), samples[100 * RATE : 110 * RATE])
    np.testing.assert_array_equal(read(recording, RATE, 1, 10), samples[RATE : 11 * RATE])
    # The first response is closed early, but some of its bytes may already be sent.
    assert server.count("GET") <= 5 and server.bytes_sent <= 5 * len(data)
    whole = [entry for entry in server.requests if not entry[2]]
    assert len(whole) == 1
    assert probe(f"{server.url}/small.wav").missing_frames > 0


def test_an_object_that_is_replaced_during_reading_raises(s3):
    url = s3.put("a.wav", sound(noise(60)))
    recording = probe(url)
    s3.put("a.wav", sound(noise(60, seed=1)))
    with pytest.raises(RecordingError, match="replaced by another one"):
        read(recording, RATE, 50, 5)


def test_recordings_are_found_by_index_pages_of_a_web_server(serve):
    data = sound(noise(1))
    page = '<a href="../">up</a><a href="?C=N;O=D">Name</a><a href="{}">x</a><a href="/other/z.wav">z</a>'
    server = serve({"/rec/": page.format("a%20b.wav").encode() + b'<a href="sub/">s</a>'})
    server.files |= {"/rec/sub/": page.format("c.flac").encode(), "/rec/a%20b.wav": data}
    found, problems = find_recordings([f"{server.url}/rec/"])
    assert found == [f"{server.url}/rec/a%20b.wav", f"{server.url}/rec/sub/c.flac"] and not problems
    assert len(read(found[0], RATE)) == RATE


def test_folders_of_a_web_server_that_lead_back_to_themselves_are_a_problem(serve):
    server = serve({f"/rec/{'loop/' * depth}": b'<a href="a.wav">a</a><a href="loop/">l</a>' for depth in range(60)})
    ((path, sentence),) = find_recordings([f"{server.url}/rec/"])[1]
    assert sentence.startswith(f"{path}: ") and "nested more than" in sentence


def test_damaged_objects_have_the_same_faults_as_local_files(s3):
    data = bytearray(sound(noise(10)))
    recording = probe(s3.put("cut.wav", bytes(data[: len(data) // 2])))
    assert "cut off" in recording.fault and recording.fault.startswith("s3://")
    data[4:8] = data[40:44] = b"\0\0\0\0"
    endless = probe(s3.put("endless.wav", bytes(data)))
    assert endless.frames == 10 * RATE and "does not state the duration" in endless.note
    assert len(read(endless, RATE, 5, 5)) == 5 * RATE
    for content, fault in ((b"", "empty"), (b"<!DOCTYPE html>", "web page"), (bytes(4096), "zeros")):
        with pytest.raises(RecordingError, match=fault):
            probe(s3.put("bad.wav", content))


def test_without_the_extra_the_message_contains_the_install_command(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("s3fs", "aiohttp"):
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for name in ("loxo.audio.s3", "loxo.audio.web"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    for url in ("s3://b/a.wav", "https://h/a.wav"):
        with pytest.raises(RecordingError, match=r"pip install .*\[s3\]"):
            probe(url)
