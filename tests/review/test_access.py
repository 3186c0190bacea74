"""Access from other computers: a password over TLS, and the refusal of everything else."""

import re
import ssl
import sys
import threading
import urllib.request
from concurrent.futures import Future

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from loxo.cli.shared import print_sentences
from loxo.errors import LoxoError
from loxo.installation import install_package
from loxo.review import access as access_module
from loxo.review.access import PASSWORD, read_access
from loxo.review.front import Front
from loxo.review.guard import Guard
from loxo.review.login import MAX_ATTEMPTS, SESSION_S, WINDOW_S, Login
from loxo.review.serving import serve_page

HOST, SECRET = "https://10.0.0.5:8750", "elephants at night"


@pytest.fixture
def password(tmp_path, monkeypatch):
    monkeypatch.setenv("LOXO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(PASSWORD, raising=False)
    file = tmp_path / "password.txt"
    file.touch(0o600)
    file.write_text(SECRET + "\n")
    return file


@pytest.fixture
def guard():
    app = FastAPI()
    app.get("/api/x")(lambda: {"x": 1})
    app.post("/api/x")(lambda: {"x": 2})
    api = Future()
    api.set_result(app)
    files = {"/": ("text/html", b"the page")}
    return Guard(Front(api, files), "", "10.0.0.5", command="loxo app", password=SECRET)


@pytest.fixture
def client(guard):
    with TestClient(guard, base_url=HOST, follow_redirects=False, headers={"origin": HOST}) as client:
        yield client


def log_in(client, word=SECRET, **headers):
    return client.post("/login", data={"password": word}, headers=headers)


# -- options


def test_without_options_there_is_no_password(password):
    assert read_access("127.0.0.1") is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"password_file": True}, "needs an encrypted connection"),
        ({"self_signed": True}, "needs a password too"),
        ({"password_file": True, "certificate": True}, "belong together"),
        ({"password_file": True, "self_signed": True, "certificate": True}, "Leave out"),
        ({"password_file": True, "certificate": True, "key": True}, "cannot be used together"),
    ],
)
def test_half_of_the_options_is_refused(password, tmp_path, options, sentence):
    (tmp_path / "no.pem").write_text("no certificate")
    files = {"password_file": password, "certificate": tmp_path / "no.pem", "key": tmp_path / "no.pem"}
    with pytest.raises(LoxoError, match=sentence):
        read_access("10.0.0.5", **{name: files.get(name, value) for name, value in options.items()})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permissions of this kind")
def test_a_password_that_others_may_read_or_guess_is_refused(password):
    password.chmod(0o644)
    with pytest.raises(LoxoError, match="other accounts may read this password"):
        read_access("10.0.0.5", password, self_signed=True)
    password.chmod(0o600)
    password.write_text("short\n")
    with pytest.raises(LoxoError, match="too short"):
        read_access("10.0.0.5", password, self_signed=True)
    with pytest.raises(LoxoError, match="cannot be read"):
        read_access("10.0.0.5", password.with_name("none"), self_signed=True)


def test_the_password_of_the_environment_is_not_inherited(password, monkeypatch):
    monkeypatch.setenv(PASSWORD, SECRET)
    assert read_access("10.0.0.5", self_signed=True).password == SECRET
    assert PASSWORD not in access_module.os.environ


def test_a_certificate_is_made_once_and_only_its_owner_has_the_key(password, monkeypatch):
    made = read_access("10.0.0.5", password, self_signed=True)
    assert made.key.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    assert len(made.fingerprint) == 95
    first = made.fingerprint
    again = read_access("10.0.0.5", password, self_signed=True)
    assert again.fingerprint == first
    monkeypatch.setattr(access_module, "KEPT_DAYS", -1)
    assert read_access("10.0.0.5", password, self_signed=True).fingerprint != first
    own = read_access("10.0.0.5", password, made.certificate, made.key)
    assert not own.is_self_signed
    monkeypatch.setattr(access_module.shutil, "which", lambda name: None)
    monkeypatch.setattr(access_module, "_make", access_module._make_by_openssl)
    with pytest.raises(LoxoError, match=re.escape(install_package("cryptography"))):
        read_access("10.0.0.5", password, self_signed=True)


# -- the login


def test_the_password_opens_a_session(client):
    page = client.get("/")
    assert 'type="password"' in page.text and "the page" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert client.get("/api/x").status_code == 401
    answer = log_in(client)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"))
    assert SECRET not in cookie
    assert client.get("/").text == "the page" and client.get("/api/x").json() == {"x": 1}


def test_the_login_page_is_in_the_language_of_the_browser(client):
    assert "Mot de passe" in client.get("/", headers={"accept-language": "fr-CM,fr;q=0.9"}).text


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
def test_other_hosts_and_pages_are_refused(client, headers):
    assert log_in(client, **headers).status_code == 403
    log_in(client)
    for request in (client.get, client.post):
        assert request("/api/x", headers=headers | {"content-type": "application/json"}).status_code == 403


def test_a_request_that_no_browser_page_sent_cannot_log_in(guard):
    with TestClient(guard, base_url=HOST, follow_redirects=False) as client:
        assert log_in(client).status_code == 403


def test_a_token_opens_nothing(client):
    for token in ("", "x", "None"):
        assert 'type="password"' in client.get("/", params={"token": token}).text
    assert client.get("/api/x", headers={"cookie": f"{client.app.cookie}={client.app._key}"}).status_code == 401


def test_wrong_passwords_are_limited(client):
    for _ in range(MAX_ATTEMPTS):
        answer = log_in(client, "wrong")
        assert answer.status_code == 401 and "The password is wrong." in answer.text
    answer = log_in(client)  # the right one, too late
    assert answer.status_code == 429 and "set-cookie" not in answer.headers
    assert log_in(client, "x" * 5000).status_code == 429


def test_attempts_and_sessions_end():
    now = [0.0]
    login = Login(SECRET, lambda: now[0])
    for _ in range(MAX_ATTEMPTS):
        assert login.open(b"password=no", "10.0.0.7") is None
    assert login.is_blocked("10.0.0.7") and not login.is_blocked("10.0.0.8")
    now[0] = WINDOW_S + 1
    assert not login.is_blocked("10.0.0.7")
    key = login.open(b"password=elephants+at+night", "10.0.0.7")
    assert key and login.is_open(key) and not login.is_open("") and not login.is_open(key + "x")
    now[0] += SESSION_S + 1
    assert not login.is_open(key)


def test_a_page_is_served_over_tls(password):
    access = read_access("127.0.0.1", password, self_signed=True)
    addresses, stops = [], []
    opened = threading.Event()

    def open_api(stop):
        stops.append(stop)
        opened.set()
        return FastAPI(), lambda: None

    options = {"port": 0, "browser": False, "on_address": addresses.append, "access": access}
    server = threading.Thread(target=serve_page, args=({}, open_api, "loxo app"), kwargs=options)
    server.start()
    assert opened.wait(60)
    try:
        [address] = addresses
        assert address.startswith("https://127.0.0.1:") and "token" not in address
        trusted = ssl.create_default_context(cafile=str(access.certificate))
        with urllib.request.urlopen(address, context=trusted, timeout=60) as answer:
            assert b'type="password"' in answer.read()
        with pytest.raises(OSError):
            urllib.request.urlopen(address.replace("https", "http"), timeout=60)
    finally:
        stops[0]()
        server.join(60)


def test_a_fingerprint_is_printed_without_emoji(capsys):
    print_sentences(["1F:AB:CD"])
    assert capsys.readouterr().out == "1F:AB:CD\n"
