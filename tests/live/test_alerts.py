"""Alerts: rules on events, the queue on disk, and receivers that fail."""

import gc
import hashlib
import hmac
import itertools
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from datetime import datetime
from functools import partial

import pytest
from fakes import FakeConfig, write
from receivers import Broker, Webhook, certificate

from loxo.errors import LoxoError
from loxo.live import alerts as module
from loxo.live.alerts import Alerts, Sender, send_test
from loxo.live.outbox import Message, Outbox, open_outbox
from loxo.live.rules import AlertConfig, Daily, Rule, SinkConfig, read_alert_config
from loxo.live.sinks import SENDERS, SinkError, send
from loxo.runs.config import config_parameters
from loxo.runs.folder import RunFolder

NOW = datetime(2024, 5, 1, 12).timestamp()
SHOT = {"label": "gunshot", "score": 0.9, "low_hz": 80.0, "high_hz": 500.0}
MESSAGE = Message({"id": "one", "kind": "alert", "text": "a shot", "site": "a", "rule": "r"}, b"png", b"flac")
NAME = "a_20240501_110000.wav"


@pytest.fixture
def run(tmp_path):
    parameters = {"formats": ["raven"], "names": {}, **config_parameters(FakeConfig())}
    with RunFolder(tmp_path / "run", parameters, []) as folder:
        yield folder


MADE = []  # the alerts of a test


def make(run, *rules, sinks=None, daily=None, clock=lambda: NOW):
    """Alerts without receivers that run, unless some are given."""
    config = AlertConfig(rules, daily, sinks or ())
    alerts = Alerts(run, config, lambda sentence: None, clock)
    if sinks is None:
        alerts._sinks = lambda names: ["kept"]
    MADE.append(alerts)
    return alerts


@pytest.fixture(autouse=True)
def closed():
    yield
    while MADE:
        MADE.pop().close()


def shots(*starts, **values):
    return [SHOT | {"start_s": start, "end_s": start + 1.0} | values for start in starts]


def queued(run):
    outbox, found = Outbox(run.folder), []
    while (message := outbox.next("kept")) is not None:
        found.append(message[1])
        outbox.acknowledge("kept", message[0])
    outbox.close()
    return found


def test_noticed_once(run, tmp_path):
    path = write(tmp_path / NAME, 60)
    alerts = make(run, Rule("shots"))
    alerts.events(str(path), shots(10.0, 30.0, 50.0), 60.0)  # the last may still change
    assert [message.body["start_s"] for message in queued(run)] == [10.0, 30.0]
    alerts.events(str(path), shots(10.2, 30.0, 50.0, 50.8), None)  # again, complete, with an edge moved, two at once
    messages = queued(run)
    assert [message.body["start_s"] for message in messages] == [50.0, 50.8]
    body = messages[0].body
    assert body["site"] == "a" and body["time"] == "2024-05-01T11:00:50" and len(body["id"]) == 24
    assert messages[0].picture.startswith(b"\x89PNG") and messages[0].clip.startswith(b"fLaC")
    alerts.close()
    again = make(run, Rule("shots"))
    again.events(str(path), shots(10.0, 30.0, 50.0, 50.8), None)
    assert not queued(run)
    again.close()


def test_rules_on_time(run):
    alerts = make(
        run,
        Rule("three", count=3, within_minutes=10, quiet_minutes=15),
        Rule("recent", max_age_hours=0.25, min_score=0.95),
    )
    alerts.events(NAME, shots(0, 900, 1000, 1100, 1150, 2200), None)
    assert [message.body["start_s"] for message in queued(run)] == [1100]  # the last is alone again
    alerts.events("b_20240501_110000.wav", shots(0, 10, 20), None)  # another site has its own count
    assert [message.body["start_s"] for message in queued(run)] == [20]
    alerts.events("c_20240501_110000.wav", shots(0, 3000, score=0.97), None)  # an hour and ten minutes ago
    assert [message.body["start_s"] for message in queued(run)] == [3000]
    alerts.close()


def test_daily_sum(run):
    now = [NOW]
    alerts = make(run, daily=Daily(datetime(2024, 1, 1, 7).time()), clock=lambda: now[0])
    alerts.tick()
    alerts.tick()
    assert not queued(run)
    now[0] += 20 * 3600
    alerts.tick()
    alerts.tick()
    assert [message.body["text"] for message in queued(run)] == ["Daily sum to 02 May 2024 07:00: no events"]
    alerts.events(NAME, shots(1), None)
    now[0] += 21 * 86400  # weeks without power: one sum
    alerts.tick()
    alerts.tick()
    assert [message.body["events"] for message in queued(run)] == [[{"site": "a", "label": "gunshot", "number": 1}]]
    alerts.close()


def wait(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def webhook(url, secret=None, **values):
    return SinkConfig("hook", "webhook", {"url": url, "secret": secret, "ca_file": None, "attachments": True} | values)


def test_receiver_that_fails(run, monkeypatch, tmp_path):
    """In order and at least once, from a receiver that answers 500, closes, and hangs; another is not delayed."""
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("loxo.live.sinks.TIMEOUT_S", 0.5)
    hook, file = Webhook([500, 0, -1, 200, 503]), tmp_path / "alerts.jsonl"
    sinks = (webhook(hook.url, "s3cret"), SinkConfig("log", "file", {"path": file, "attachments": False}))
    notes = []
    alerts = Alerts(run, AlertConfig((Rule("shots"),), None, sinks), notes.append, lambda: NOW)
    alerts.events(NAME, shots(10.0, 20.0, 30.0), None)
    wait(lambda: file.is_file() and len(file.read_text().splitlines()) == 3)
    wait(lambda: len(hook.accepted) == 3)
    assert [content["start_s"] for *_, content in hook.accepted] == [10.0, 20.0, 30.0]
    headers, body, content = hook.accepted[0]
    assert headers["X-Loxo-Signature"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Loxo-Id"] == content["id"]
    wait(lambda: not alerts.outbox.waiting())
    alerts.close()
    hook.close()
    assert any("answered 500" in note for note in notes) and any("accepts alerts again" in note for note in notes)
    assert not any("s3cret" in note or hook.url in note for note in notes)


def test_refused_then_there(run, monkeypatch, tmp_path):
    """A queue that was filled while nothing listened is sent by a later process."""
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.05)
    hook = Webhook()
    hook.close()
    notes = []
    alerts = Alerts(run, AlertConfig((Rule("shots"),), None, (webhook(hook.url),)), notes.append, lambda: NOW)
    alerts.events(NAME, shots(10.0, 20.0), None)
    wait(lambda: len(notes) > 1)
    alerts.close()
    later = Webhook()
    alerts = Alerts(run, AlertConfig((Rule("shots"),), None, (webhook(later.url),)), notes.append, lambda: NOW)
    wait(lambda: len(later.accepted) == 2)
    alerts.close()
    later.close()


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from loxo.live.alerts import Sender
from loxo.live.outbox import Message, Outbox
from loxo.live.rules import SinkConfig
folder = Path(sys.argv[1])
outbox = Outbox(folder)
Sender(folder, SinkConfig("hook", "file", {"path": folder / "got.jsonl", "attachments": True}), print).start()
for k in range(int(sys.argv[3]), 10**6):
    if k == int(sys.argv[3]) + 1:
        threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    with outbox.change():
        outbox.add(Message({"id": str(k)}, b"p" * 100, b"c" * 100), ["hook"])
    print(k, flush=True)
"""


def test_kills(tmp_path):
    """Processes that are killed while they add and send messages: none is lost, each has one id, in order."""
    first = 0
    for k in range(3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(0.15 + 0.1 * k), str(first)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        first = int(done.stdout.split()[-1]) + 1
    outbox = Outbox(tmp_path)
    while (found := outbox.next("hook")) is not None:
        send(SinkConfig("hook", "file", {"path": tmp_path / "got.jsonl", "attachments": True}), found[1])
        outbox.acknowledge("hook", found[0])
    outbox.close()
    ids = []
    for line in (tmp_path / "got.jsonl").read_text().splitlines():
        try:
            ids.append(int(json.loads(line)["id"]))
        except ValueError:  # incomplete: it was sent again
            continue
    assert sorted(set(ids)) == list(range(max(ids) + 1)) and max(ids) >= first - 1
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(ids))
    assert len(ids) - len(set(ids)) <= 3


def test_receiver_that_is_away_for_a_week(tmp_path, monkeypatch):
    """It refuses, hangs and answers 500, by a clock of the test. All alerts wait on the disk, in order."""
    day_s, now, tries, sent, notes = 86400.0, 0.0, 0, [], []
    faults = itertools.cycle((ConnectionRefusedError, TimeoutError, partial(SinkError, "it answered 500.")))

    def receive(values, message):
        nonlocal tries, now
        tries += 1
        if now < 7 * day_s:
            fault = next(faults)()
            now += 20.0 if isinstance(fault, TimeoutError) else 0.0
            raise fault
        sent.append(message.body["id"])

    monkeypatch.setitem(SENDERS, "webhook", receive)
    sender, outbox = Sender(tmp_path, webhook("http://away"), notes.append), Outbox(tmp_path)
    added, longest, levels = 0, 0.0, {}
    tracemalloc.start()
    while now < 7 * day_s or len(sent) < added:
        while added * 7200 <= min(now, 7 * day_s):  # an alert every two hours
            with outbox.change():
                outbox.add(Message({"id": str(added), "kind": "alert"}, b"p" * 100, b"c" * 2000), ["hook"])
            added += 1
        seconds = sender.step()
        longest, day, now = max(longest, seconds), now // day_s, now + (seconds or 0.1)
        if now // day_s > day:
            notes.clear()
            gc.collect()
            levels[now // day_s] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert sent == [str(k) for k in range(7 * 12 + 1)] and outbox.waiting() == 0
    assert longest == 600 and 7 * 144 * 0.9 < tries - len(sent) < 7 * 144 + 10
    assert levels[6] - levels[1] < 20_000  # bytes
    outbox.close()
    sender.outbox.close()


def test_loss_of_power(tmp_path):
    """A change is interrupted at any byte of the journal of SQLite, or of the file itself. The queue has all messages
    of before, and works."""
    outbox = Outbox(tmp_path)
    for k in range(5):
        outbox.add(Message({"id": str(k)}, b"p" * 3000, b"c" * 3000), ["a"])
    outbox.close()
    file, journal = tmp_path / "alerts.sqlite", tmp_path / "alerts.sqlite-journal"
    before = file.read_bytes()
    base = sqlite3.connect(file, isolation_level=None)
    base.execute("PRAGMA cache_size=1")  # pages go to the disk while the change is made
    base.execute("BEGIN IMMEDIATE")
    base.execute("UPDATE message SET picture = zeroblob(4000), body = '{}'")
    changed, undo = file.read_bytes(), journal.read_bytes()
    assert changed != before and len(undo) > 10_000
    base.close()
    states = [(before, undo[:cut]) for cut in range(0, len(undo), 1499)]  # the journal is on the disk before the file
    states += [(changed[:cut] + before[cut:], undo) for cut in range(0, len(changed), 1999)]
    folder = tmp_path / "again"
    folder.mkdir()
    for content, left in states:
        (folder / file.name).write_bytes(content)
        (folder / journal.name).write_bytes(left)
        again = Outbox(folder, check=True)
        again.add(Message({"id": "new"}), ["a"])
        bodies = [json.loads(body)["id"] for (body,) in again.rows("SELECT body FROM message ORDER BY number")]
        again.close()
        assert bodies == ["0", "1", "2", "3", "4", "new"]


def test_damaged_queue(tmp_path):
    """A file that is cut off at any byte is moved away, and the station goes on. Other faults stay."""
    Outbox(tmp_path).close()
    file = tmp_path / "alerts.sqlite"
    data, notes, moved = file.read_bytes(), [], 0
    for cut in (*range(1, len(data) - 1, 4999), len(data) - 1):
        file.write_bytes(data[:cut])
        outbox = open_outbox(tmp_path, notes.append)
        outbox.add(Message({"id": "one"}), ["a"])
        assert outbox.waiting() == 1
        outbox.close()
    moved = sorted(tmp_path.glob("alerts.damaged-*.sqlite"))
    assert moved and len(moved) == len(notes) and all("was moved to" in note for note in notes)
    file.unlink()
    file.mkdir()
    with pytest.raises(LoxoError, match="cannot be used"):
        open_outbox(tmp_path, notes.append)


def test_oldest_attachments_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr("loxo.live.outbox.MAX_BYTES", 250)
    outbox = Outbox(tmp_path)
    for k in range(4):
        outbox.add(Message({"id": str(k)}, b"p" * 50, b"c" * 50), ["a"])
    found = []
    while (message := outbox.next("a")) is not None:
        found.append((message[1].id, message[1].clip is not None))
        outbox.acknowledge("a", message[0])
    assert found == [("0", False), ("1", False), ("2", True), ("3", True)]
    outbox.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_https_with_own_certificate(tmp_path):
    pytest.importorskip("cryptography")
    pem = certificate(tmp_path / "pem")
    hook = Webhook(certificate=pem)
    with pytest.raises(SinkError, match="could not be reached"):
        send(webhook(hook.url), MESSAGE)
    send(webhook(hook.url, ca_file=str(pem)), MESSAGE)
    hook.close()
    assert hook.accepted[0][2]["clip_flac"] == "ZmxhYw=="


def mqtt(port, **values):
    login = {"username": None, "password": None, "tls": False, "ca_file": None}
    return SinkConfig(
        "base", "mqtt", {"host": "127.0.0.1", "port": port, "topic": "loxo", "attachments": True} | login | values
    )


def test_mqtt(monkeypatch):
    pytest.importorskip("paho.mqtt")
    monkeypatch.setattr("loxo.live.sinks.TIMEOUT_S", 2.0)
    broker = Broker()
    send(mqtt(broker.port), MESSAGE)
    broker.close()
    ((topic, content),) = broker.published
    assert topic == "loxo/a/alert" and content["id"] == "one" and content["picture_png"]
    refusing = Broker(refuse=True)
    with pytest.raises(SinkError, match="refused"):
        send(mqtt(refusing.port), MESSAGE)
    refusing.close()


def check_broker(port):
    """Sends a message through a real broker, and receives it."""
    from paho.mqtt import client

    received, subscribed = [], []
    reader = client.Client(client.CallbackAPIVersion.VERSION2)
    reader.on_message = lambda *arguments: received.append(arguments[2])
    reader.on_connect = lambda one, *_: one.subscribe("loxo/#", 1)
    reader.on_subscribe = lambda *_: subscribed.append(True)
    for _ in range(100):
        try:
            reader.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.1)
    reader.loop_start()
    wait(lambda: subscribed)
    send(mqtt(port), MESSAGE)
    wait(lambda: received)
    assert received[0].topic == "loxo/a/alert" and json.loads(received[0].payload)["id"] == "one"
    reader.disconnect()
    reader.loop_stop()


def test_mosquitto(tmp_path):
    """The broker of Debian."""
    pytest.importorskip("paho.mqtt")
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        check_broker(port)
    finally:
        broker.terminate()
        broker.wait()


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_amqtt():
    """A broker from PyPI, where it is installed."""
    pytest.importorskip("paho.mqtt")
    pytest.importorskip("amqtt")
    port = free_port()
    broker = subprocess.Popen(
        [sys.executable, "-c", AMQTT, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        check_broker(port)
    finally:
        broker.kill()
        broker.wait()


def test_email(tmp_path):
    pytest.importorskip("aiosmtpd")
    pytest.importorskip("cryptography")
    import ssl
    from email import message_from_bytes

    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    pem = certificate(tmp_path / "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    mails = []

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            mails.append(message_from_bytes(envelope.content))
            return "250 OK"

    controller = Controller(
        Handler(),
        hostname="localhost",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=lambda server, session, envelope, mechanism, data: AuthResult(
            success=data.password == b"s3cret", handled=False
        ),
    )
    controller.start()
    try:
        values = {"host": "localhost", "port": controller.port, "security": "starttls", "sender": "loxo@example.org"}
        values |= {"to": ("a@example.org", "b@example.org"), "username": "loxo", "password": "s3cret"}
        values |= {"ca_file": str(pem), "attachments": True}
        send(SinkConfig("mail", "email", values), MESSAGE)
        with pytest.raises(SinkError, match="answered 535") as refused:
            send(SinkConfig("mail", "email", values | {"password": "wr0ng"}), MESSAGE)
        assert "wr0ng" not in str(refused.value)
    finally:
        controller.stop()
    (mail,) = mails
    assert mail["Subject"] == "a shot" and mail["Message-ID"] == "<one@loxo>"
    assert [part.get_content_type() for part in mail.walk()][1:] == ["text/plain", "image/png", "audio/flac"]


def test_command_and_test_message(tmp_path):
    out = tmp_path / "got"
    path = tmp_path / "alerts.toml"
    path.write_text(
        f'[sink.good]\ntype = "command"\ncommand = ["{sys.executable}", "-c", '
        f"\"import sys; open('{out}', 'w').write(sys.stdin.read())\"]\n"
        f'[sink.bad]\ntype = "command"\ncommand = ["{sys.executable}", "-c", "raise SystemExit(3)"]\n'
    )
    (problem,) = send_test(read_alert_config(path))
    assert "'bad'" in problem and "exit code 3" in problem
    assert json.loads(out.read_text())["kind"] == "test"
