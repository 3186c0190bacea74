"""Access from other computers: a password and an encrypted connection (TLS), for `loxo app` and `loxo review`.

The password is the first line of a file that only its owner can read, or the environment variable LOXO_PASSWORD. The
certificate is the user's own, or a self-signed one, which is made once for each address and kept for CERTIFICATE_DAYS.

Failure policy: whatever would give access with less than that raises LoxoError before the server starts.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shutil
import ssl
import stat
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loxo.errors import LoxoError
from loxo.files import portable_name, write_atomically
from loxo.installation import install_package
from loxo.machine import user_data

PASSWORD = "LOXO_PASSWORD"  # environment variable
MIN_PASSWORD = 10  # characters
CERTIFICATE_DAYS = 365
KEPT_DAYS = 300  # a self-signed certificate is made again after this time


@dataclass(frozen=True)
class Access:
    """What other computers need: a password, and the files of the encrypted connection."""

    password: str
    certificate: Path
    key: Path
    is_self_signed: bool = False

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, as browsers show it."""
        text = self.certificate.read_text(encoding="ascii")
        first = text[text.index("-----BEGIN") : text.index("-----END CERTIFICATE-----") + 26]
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest().hex(":").upper()


def read_access(
    host: str,
    password_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    self_signed: bool = False,
) -> Access | None:
    """The access from other computers for the options of a command; None if no option is given.

    Raises LoxoError for a password without TLS and TLS without a password, and for files that cannot be used.
    """
    has_tls = self_signed or certificate is not None or key is not None
    password = _password(password_file, has_tls)
    if password is None and not has_tls:
        return None
    if password is None:
        raise LoxoError(
            "An encrypted connection needs a password too: give --password-file FILE, or set the environment variable "
            f"{PASSWORD}."
        )
    if not has_tls:
        raise LoxoError(
            "A password needs an encrypted connection: give --certificate FILE with --key FILE, or --self-signed."
        )
    if self_signed and (certificate is not None or key is not None):
        raise LoxoError("--self-signed makes a certificate. Leave out --certificate and --key, or --self-signed.")
    if self_signed:
        return _checked(Access(password, *_self_signed(host), is_self_signed=True))
    if certificate is None or key is None:
        raise LoxoError("A certificate and its key belong together: give both --certificate FILE and --key FILE.")
    return _checked(Access(password, certificate, key))


def _password(file: Path | None, is_wanted: bool) -> str | None:
    """The password of the file, else of the environment where TLS is asked for."""
    if file is None:
        # Taken out of the environment, which other programs inherit.
        password, place = os.environ.pop(PASSWORD, None) if is_wanted else None, PASSWORD
        if password is None:
            return None
    else:
        place = str(file)
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            password = next(iter(file.read_text(encoding="utf-8").splitlines()), "").strip()
        except (OSError, ValueError) as error:
            raise LoxoError(f"{file}: the password cannot be read ({error}). Give a text file.") from error
        if os.name == "posix" and mode & 0o077:
            raise LoxoError(f"{file}: other accounts may read this password. Protect the file with chmod 600.")
    if len(password) < MIN_PASSWORD:
        raise LoxoError(f"{place}: the password is too short. Choose one with at least {MIN_PASSWORD} characters.")
    return password


def _checked(access: Access) -> Access:
    try:
        # Without a passphrase: a server must not wait at its terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(access.certificate, access.key, password=lambda: "")
    except OSError as error:  # ssl.SSLError too
        raise LoxoError(
            f"{access.certificate}: the certificate and the key {access.key} cannot be used together ({error}). Give "
            "PEM files, with a key that has no passphrase."
        ) from error
    return access


def _self_signed(host: str) -> tuple[Path, Path]:
    """The files of a self-signed certificate for an address, made if they are missing or old."""
    folder = user_data() / "tls"
    name = portable_name(host.replace(":", "-"))
    certificate, key = folder / f"{name}.certificate.pem", folder / f"{name}.key.pem"
    try:
        if time.time() - certificate.stat().st_mtime < KEPT_DAYS * 86400 and key.is_file():
            return certificate, key
    except OSError:
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key.touch(0o600)
        key.chmod(0o600)
        _make(host, certificate, key)
    except OSError as error:
        raise LoxoError(
            f"{folder}: the certificate cannot be written ({error}). Give --certificate and --key."
        ) from error
    return certificate, key


def _make(host: str, certificate: Path, key: Path) -> None:
    """Makes a certificate with the package cryptography, else with the program openssl."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        _make_by_openssl(host, certificate, key)
    else:
        _make_by_cryptography(host, certificate, key)


def _make_by_cryptography(host: str, certificate: Path, key: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Loxo")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address(host)) if _is_address(host) else x509.DNSName(host)
    made = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(secret.private_bytes(pem, form, plain))
    write_atomically(certificate, made.public_bytes(pem))


def _make_by_openssl(host: str, certificate: Path, key: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise LoxoError(
            f"A self-signed certificate needs the package cryptography ({install_package('cryptography')}) or the "
            "program openssl. Install one of them, or give --certificate and --key."
        )
    kind = "IP" if _is_address(host) else "DNS"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", str(CERTIFICATE_DAYS), "-subj", "/CN=Loxo", "-addext", f"subjectAltName={kind}:{host}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise OSError(made.stderr.strip().splitlines()[-1] if made.stderr.strip() else "openssl failed")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
