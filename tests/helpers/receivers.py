"""Receivers of alerts on loopback: an HTTP server whose answers are given, and the least of an MQTT broker."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """Answers with the codes in `codes`, then 200; 0: closes the connection, -1: hangs. Keeps what it accepted."""

    def __init__(self, codes=(), certificate=None):
        self.codes, self.requests, self.accepted = list(codes), 0, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = owner.codes[owner.requests] if owner.requests < len(owner.codes) else 200
                owner.requests += 1
                if code == -1:
                    time.sleep(3)
                if code <= 0:
                    self.close_connection = True
                    return
                if code == 200:
                    owner.accepted.append((dict(self.headers), body, json.loads(body)))
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Broker:
    """Accepts one MQTT 3.1.1 client at a time and acknowledges what it publishes, with QoS 1."""

    def __init__(self, refuse=False):
        self.published, self.refuse = [], refuse
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                while head := stream.read(1):
                    length, shift = 0, 0
                    while True:
                        byte = stream.read(1)[0]
                        length |= (byte & 127) << shift
                        shift += 7
                        if byte < 128:
                            break
                    body = stream.read(length)
                    kind = head[0] >> 4
                    if kind == 1:
                        client.sendall(bytes((0x20, 2, 0, 5 if self.refuse else 0)))
                    elif kind == 3:
                        size = struct.unpack(">H", body[:2])[0]
                        self.published.append((body[2 : 2 + size].decode(), json.loads(body[4 + size :])))
                        client.sendall(b"\x40\x02" + body[2 + size : 4 + size])
                    elif kind == 14:
                        break

    def close(self):
        self.socket.close()


def certificate(path):
    """A key and a certificate for localhost that signs itself, in one file."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(text + made.public_bytes(encoding))
    return path
