"""Servers on loopback: an S3 server, a web server, and one that stands before either and fails by a script.

The fixtures are there for every folder of tests whose conftest.py imports them.
"""

import http.client
import logging
import re
import socket
import struct
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Server(ThreadingHTTPServer):
    """Answers with `files` (path -> bytes), or passes on to `upstream`. `script`: what the next GETs meet, in order:
    None, "503", "500", "reset" (in the middle of the body), "short" (the connection closes there), "silence", "flip"
    (one byte is another). `full`: what is put where the path has this in it is answered with 503."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None, upstream: str | None = None, ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.upstream, self.ranges = files or {}, upstream, ranges
        self.script: deque[str | None] = deque()
        self.full: str | None = None
        self.requests: list[tuple[str, str, str]] = []  # method, path, range
        self.authorised: list[bool] = []
        self.bytes_sent = 0
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def reset(self) -> None:
        self.script.clear()
        self.full = None
        self.requests.clear()
        self.authorised.clear()
        self.bytes_sent = 0

    def count(self, method: str, part: str = "") -> int:
        return sum(1 for m, path, _ in self.requests if m == method and part in path)

    def handle_error(self, request, client_address) -> None:  # clients hang up on purpose
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        self.server.authorised.append("Authorization" in self.headers)
        fault = self.server.script.popleft() if self.command == "GET" and self.server.script else None
        if self.command == "PUT" and self.server.full is not None and self.server.full in self.path:
            fault = "503"
        if fault in ("503", "500"):
            return self.answer(int(fault), {"Content-Type": "application/xml"}, SLOW_DOWN)
        if fault == "silence":
            self.server.closing.wait(10)
            return self.hang_up()
        status, headers, data = self.passed_on(body) if self.server.upstream else self.own()
        self.answer(status, headers, data, fault)

    do_HEAD = do_PUT = do_DELETE = do_POST = do_GET

    def own(self) -> tuple[int, dict[str, str], bytes]:
        data = self.server.files.get(self.path)
        if data is None:
            return 404, {}, b"no"
        headers = {"ETag": f'"{hash(data) & 0xFFFFFFFF:08x}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if self.path.endswith("/"):
            headers["Content-Type"] = "text/html"
        if not wanted or not self.server.ranges:
            return 200, headers, data
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        if start >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return 206, headers, data[start:stop]

    def passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream.removeprefix("http://"))
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
        return answer.status, headers, data

    def answer(self, status: int, headers: dict[str, str], data: bytes, fault: str | None = None) -> None:
        self.send_response_only(status)
        if self.command != "HEAD" or not self.server.upstream:
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            headers["Content-Length"] = str(len(data))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = data[: len(data) // 2] if fault in ("reset", "short") else data
        if fault == "flip":
            sent = data[:-1] + bytes([data[-1] ^ 1])
        self.server.bytes_sent += len(sent)
        self.wfile.write(sent)
        if fault in ("reset", "short"):
            self.hang_up(reset=fault == "reset")

    def hang_up(self, reset: bool = False) -> None:
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


@pytest.fixture
def loopback(monkeypatch, tmp_path_factory):
    """No credentials, no service of a cloud that is asked for them, no proxy; pauses too short to notice."""
    pytest.importorskip("s3fs")
    from loxo.audio import remote, s3, storage

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    nothing = str(tmp_path_factory.getbasetemp() / "no-aws-settings")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
    monkeypatch.setenv("AWS_CONFIG_FILE", nothing)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(remote, "MAX_PAUSE_S", 0.002)
    s3.PUBLIC_BUCKETS.clear()
    storage.clear_caches()


@pytest.fixture
def credentials(loopback, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")


@pytest.fixture(scope="session")
def _moto():
    """An S3 server with a bucket, its client, and a Server that stands before it."""
    boto3, moto_server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    settings = {"endpoint_url": url, "region_name": "us-east-1"}
    client = boto3.client("s3", aws_access_key_id="a", aws_secret_access_key="b", **settings)
    server = Server(upstream=url)
    yield client, server
    server.stop()
    client.close()
    moto.stop()


@pytest.fixture
def serve(loopback):
    """Starts Server(...)s and stops them at the end."""
    servers: list[Server] = []

    def start(*args, **options) -> Server:
        servers.append(Server(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def s3(_moto, loopback, monkeypatch):
    """A new public bucket in an S3 server, reached through a Server: `put(key, data)`, `server`, `url(key)`."""
    client, server = _moto
    server.reset()
    bucket = f"forest-{len(client.list_buckets()['Buckets'])}"
    client.create_bucket(Bucket=bucket, ACL="public-read")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)

    def put(key: str, data: bytes, public: bool = True) -> str:
        client.put_object(Bucket=bucket, Key=key, Body=data, ACL="public-read" if public else "private")
        return f"s3://{bucket}/{key}"

    return SimpleNamespace(put=put, server=server, bucket=bucket, url=lambda key="": f"s3://{bucket}/{key}")
