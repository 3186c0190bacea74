"""URLs of recordings, and the secrets in them.

A URL may contain a login, a signature or a token. `public_url` is the URL without them. It names the recording in every
table, message and file, and identifies it when a run is resumed with a new signature. The secret URL stays in the
memory of this process (`hide_secrets`), and only requests use it (`request_url`). Tasks carry it to worker processes.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote, urlsplit

SCHEMES = ("s3://", "https://", "http://")

# Fields of a query that name an object. All other fields are removed from a URL that is stored or shown, because the
# names of signatures and tokens differ from server to server.
PUBLIC_FIELDS = frozenset(
    (
        *("id", "file", "fileid", "filename", "name", "path", "object", "item", "recording", "media", "uuid"),
        *("version", "versionid", "generation", "rev", "revision", "ref", "v"),
        *("dl", "download", "raw", "format", "alt", "export"),
    )
)
# A password may contain any letter, also "/" and "?" that should have been escaped. A colon before digits is a port.
_LOGIN = re.compile(r"[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^@]*@|[^/?#]*@")
_S3_SECRETS = re.compile(
    r"\?(?:.*&)?[\w-]*(?:x-amz-|signature|credential|accesskey|token|sig|key|secret|passw)[\w-]*=.*", re.I | re.S
)
_IN_TEXT = re.compile(r"(?:s3|https?)://[^\s'\"<>]+", re.IGNORECASE)

_secret_urls: dict[str, str] = {}  # by public_url
_logins: dict[str, str] = {}  # by server

PathOrUrl = str | os.PathLike[str]


def is_url(path: PathOrUrl) -> bool:
    """Returns True if a path is a URL with a supported scheme."""
    return isinstance(path, str) and path.lower().startswith(SCHEMES)


def public_url(path: str) -> str:
    """The URL without login, signature, token and fragment. A local path is returned unchanged.

    A field of a query stays if it is in PUBLIC_FIELDS and its value contains no fields itself. In a name on S3, "?" is
    a letter like any other; a query is removed there if one of its fields has the name of a secret.
    """
    if not is_url(path):
        return path
    scheme, _, rest = path.partition("://")
    while match := _LOGIN.match(rest):
        rest = rest[match.end() :]
    if scheme.lower() == "s3":
        return f"{scheme}://{_S3_SECRETS.sub('', rest)}"
    place, _, query = rest.partition("#")[0].partition("?")
    place = re.sub(r";[^/;=]*=[^/;]*", "", place)  # such as ;jsessionid=
    fields = [field for field in re.split("[&;]", query) if _is_public(field)]
    return f"{scheme}://{place}{'?' if fields else ''}{'&'.join(fields)}"


def hide_secrets(path: str) -> str:
    """Keeps the secrets of a URL in the memory of this process. Returns its public_url; a local path unchanged."""
    public = public_url(path)
    if public != path:
        _secret_urls[public] = path
        login = _netloc(path).rpartition("@")[0]
        if login:
            _logins[_netloc(public)] = login
    return public


def request_url(public: str) -> str:
    """The URL for a request: with the secrets that hide_secrets has kept for it. A local path is returned unchanged."""
    if not is_url(public):
        return public
    known = _secret_urls.get(public)
    if known is not None:
        return known
    server = _netloc(public)
    login = _logins.get(server)
    return public if login is None else public.replace(f"://{server}", f"://{login}@{server}", 1)


def without_secrets(text: str) -> str:
    """The text with the public form of each URL in it."""
    return _IN_TEXT.sub(lambda match: public_url(match[0]), text)


class WithSecrets:
    """A task that names a recording. Its pickle contains the secrets of the URL, for another process."""

    path: str

    def __getstate__(self) -> tuple[dict[str, Any], str]:
        return self.__dict__, request_url(self.path)

    def __setstate__(self, state: tuple[dict[str, Any], str]) -> None:
        self.__dict__.update(state[0])
        hide_secrets(state[1])


def _is_public(field: str) -> bool:
    name, _, value = field.partition("=")
    return name.lower() in PUBLIC_FIELDS and not re.search("[=@&?#]|://", unquote(unquote(value)))


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # such as an open bracket
        return ""
