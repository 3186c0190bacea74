"""Receivers of alerts: a webhook, an MQTT broker, a mail server, a command, a file.

Each sends one message and returns when the receiver has acknowledged it. No call lasts much longer than TIMEOUT_S.

Failure policy: every failure raises SinkError. Its sentence contains no secret and no text of the receiver.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import queue
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.installation import install_extra
from loxo.live.outbox import Message
from loxo.live.rules import SinkConfig

TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0


class SinkError(LoxoError):
    """A receiver did not acknowledge a message."""


Send = Callable[[dict[str, Any], Message], None]


def send(sink: SinkConfig, message: Message) -> None:
    """Sends a message. Raises SinkError."""
    if not sink.values["attachments"]:
        message = Message(message.body)
    try:
        SENDERS[sink.kind](sink.values, message)
    except SinkError as error:
        raise SinkError(f"The receiver {sink.name!r} did not accept an alert: {error}") from None
    except Exception as error:  # of many libraries; their texts may contain addresses and secrets
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SinkError(f"The receiver {sink.name!r} could not be reached ({reason}).") from None


def payload(message: Message) -> bytes:
    """The message as JSON, with the picture and the clip in base64."""
    content = dict(message.body)
    for name, data in (("picture_png", message.picture), ("clip_flac", message.clip)):
        if data is not None:
            content[name] = base64.b64encode(data).decode()
    return json.dumps(content).encode()


def signature(secret: str, body: bytes) -> str:
    """The value of the header X-Loxo-Signature."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# The packages of a receiver are imported when it gets its first message: a station without network needs no memory for
# them.


def _webhook(values: dict[str, Any], message: Message) -> None:
    import ssl
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    body = payload(message)
    headers = {"Content-Type": "application/json", "X-Loxo-Id": message.id, "User-Agent": "loxo"}
    if values["secret"]:
        headers["X-Loxo-Signature"] = signature(values["secret"], body)
    if not str(values["url"]).startswith(("https://", "http://")):
        raise SinkError("its address does not begin with https:// or http://.")
    context = ssl.create_default_context(cafile=values["ca_file"])
    opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(values["url"], body, headers, method="POST")
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise SinkError(f"it answered {error.code}.") from None
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or type(error.reason).__name__
        raise SinkError(f"it could not be reached ({reason}).") from None


def _mqtt(values: dict[str, Any], message: Message) -> None:
    try:
        from paho.mqtt import client as mqtt
    except ImportError as error:
        raise SinkError(f"MQTT needs a package. Install it: {install_extra('live')}") from error
    answered: queue.Queue[bool] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.on_connect = lambda *arguments: answered.put(not arguments[3].is_failure)
    if values["username"]:
        client.username_pw_set(values["username"], values["password"])
    if values["tls"]:
        client.tls_set(ca_certs=values["ca_file"])
    client.connect_timeout = TIMEOUT_S
    site = str(message.body.get("site") or "-").replace("/", "_").replace("+", "_").replace("#", "_")
    client.connect(values["host"], values["port"])
    client.loop_start()
    try:
        if not answered.get(timeout=TIMEOUT_S):
            raise SinkError("the broker refused the connection.")
        sent = client.publish(f"{values['topic']}/{site}/{message.body['kind']}", payload(message), qos=1)
        sent.wait_for_publish(TIMEOUT_S)
        if not sent.is_published():
            raise SinkError("the broker did not acknowledge it.")
    finally:
        client.disconnect()
        client.loop_stop()


def _email(values: dict[str, Any], message: Message) -> None:
    import smtplib
    import ssl
    from email.message import EmailMessage
    from email.utils import format_datetime, localtime

    mail = EmailMessage()
    mail["From"], mail["To"] = values["sender"], ", ".join(values["to"])
    mail["Subject"] = " ".join(str(message.body["text"]).split())[:150]
    mail["Date"], mail["Message-ID"] = format_datetime(localtime()), f"<{message.id}@loxo>"
    mail.set_content(f"{message.body['text']}\n\n{json.dumps(message.body, indent=1)}\n")
    if message.picture is not None:
        mail.add_attachment(message.picture, "image", "png", filename=f"{message.id}.png")
    if message.clip is not None:
        mail.add_attachment(message.clip, "audio", "flac", filename=f"{message.id}.flac")
    context = ssl.create_default_context(cafile=values["ca_file"])
    address = values["host"], values["port"] or {"tls": 465, "starttls": 587, "none": 25}[values["security"]]
    try:
        server = (
            smtplib.SMTP_SSL(*address, timeout=TIMEOUT_S, context=context)
            if values["security"] == "tls"
            else smtplib.SMTP(*address, timeout=TIMEOUT_S)
        )
        with server:
            if values["security"] == "starttls":
                server.starttls(context=context)
            if values["username"]:
                server.login(values["username"], values["password"] or "")
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise SinkError(f"the mail server answered {error.smtp_code}.") from None


def _command(values: dict[str, Any], message: Message) -> None:
    try:
        done = subprocess.run(values["command"], input=payload(message), capture_output=True, timeout=COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise SinkError(f"the command did not end within {COMMAND_TIMEOUT_S:g} seconds.") from None
    if done.returncode:
        raise SinkError(f"the command ended with exit code {done.returncode}.")


def _file(values: dict[str, Any], message: Message) -> None:
    path: Path = values["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell():  # after a loss of power, the last line may be incomplete
            with path.open("rb") as written:
                written.seek(-1, os.SEEK_END)
                file.write(b"" if written.read(1) == b"\n" else b"\n")
        file.write(payload(message) + b"\n")
        file.flush()
        os.fsync(file.fileno())


SENDERS: dict[str, Send] = {
    "webhook": _webhook,
    "mqtt": _mqtt,
    "email": _email,
    "command": _command,
    "file": _file,
}
