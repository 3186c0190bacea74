"""Files on web servers, with aiohttp: by byte range if the server supports it; folders are listed by index pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from html.parser import HTMLParser
from typing import IO, Any, NoReturn, TypeVar
from urllib.parse import urldefrag, urljoin, urlsplit

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from loxo.audio.remote import (
    CONNECT_TIMEOUT_S,
    COPY_BYTES,
    READ_TIMEOUT_S,
    RETRY_STATUSES,
    Info,
    StorageError,
    call_with_retries,
    check_length,
    error_text,
    md5_from_etag,
    retries_exhausted,
    unexpected_error,
)
from loxo.audio.urls import hide_secrets, request_url

MAX_DEPTH = 30  # of folders on a server: deeper ones are a link that forms a loop

T = TypeVar("T")
Call = Callable[[], Coroutine[Any, Any, T]]


class _HttpError(Exception):
    """A response with an error status. `pause_s`: the pause that the server requests before a retry."""

    def __init__(self, code: int, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code, self.pause_s = code, pause_s


class WebStore:
    """https:// and http://."""

    def __init__(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        self.web = HTTPFileSystem(client_kwargs={"timeout": timeout, "trust_env": True})

    def info(self, url: str) -> Info:
        async def head() -> Info | None:
            async with await self._request(url, "HEAD") as answer:
                if answer.status in (400, 403, 405, 501):  # servers and signed links that support only GET
                    return None
                return _web_info(answer, _check_status(answer).headers.get("Accept-Ranges") != "none")

        return self._call(url, head) or self.get(url, 0, 1)[0]

    def get(self, url: str, start: int, stop: int) -> tuple[Info, bytes]:
        async def part() -> tuple[Info, bytes]:
            async with await self._request(url, "GET", {"Range": f"bytes={start}-{stop - 1}"}) as answer:
                if answer.status == 416:
                    return _web_info(answer, True), b""
                info = _web_info(_check_status(answer), answer.status == 206)
                if not info.ranges and not (start == 0 and 0 <= info.size <= stop):
                    answer.close()  # without reading the rest of the response
                    return info, b""
                data = await answer.read()
                check_length(len(data), min(stop, info.size) - start if info.size >= 0 else len(data))
                return info, data

        return self._call(url, part)

    def copy(self, url: str, file: IO[bytes]) -> Info:
        async def whole() -> Info:
            file.seek(0)
            file.truncate()
            async with await self._request(url, "GET") as answer:
                _check_status(answer)
                async for chunk in answer.content.iter_chunked(COPY_BYTES):
                    file.write(chunk)
                return _web_info(answer, False)

        return self._call(url, whole)

    def listing(self, prefix: str) -> Iterator[tuple[str, Info | None]]:
        """Follows the links in index pages, which web servers create for folders."""
        folders, seen = [prefix], {prefix}
        while folders:
            folder = folders.pop()
            if folder.count("/") - prefix.count("/") > MAX_DEPTH:
                raise StorageError(
                    f"{prefix}: the server has folders that are nested more than {MAX_DEPTH} deep, as in {folder}. A "
                    "link may lead back to its own folder. Give the addresses of the recordings in a list."
                )
            for link in self._links(folder):
                link = hide_secrets(link)
                if not link.startswith(prefix) or link in seen:
                    continue
                seen.add(link)
                if link.endswith("/"):
                    folders.append(link)
                else:
                    yield link, None

    def _links(self, folder: str) -> list[str]:
        async def page() -> str:
            async with await self._request(folder, "GET") as answer:
                return await _check_status(answer).text(errors="replace")

        index = _LinkParser()
        index.feed(self._call(folder, page))
        links = (urldefrag(urljoin(folder, link)).url for link in index.links)
        return [link for link in links if not urlsplit(link).query]  # links with a query sort the index page

    def put(self, url: str, data: bytes) -> None:
        self._refuse(url)

    def delete(self, url: str) -> None:
        self._refuse(url)

    def _refuse(self, url: str) -> NoReturn:
        raise StorageError(f"{url}: Loxo does not write to web servers. Give a folder or an s3:// address.")

    async def _request(self, url: str, method: str, headers: dict[str, str] | None = None) -> Any:
        session = await self.web.set_session()
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        return await session.request(
            method, self.web.encode_url(request_url(url)), headers=headers, allow_redirects=True
        )

    def _call(self, url: str, action: Call[T]) -> T:
        return call_with_retries(action, self.web.loop, lambda error: _web_error(url, error))


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attributes if tag == "a" and name == "href" and value]


def _web_error(url: str, error: BaseException) -> StorageError:
    if isinstance(error, _HttpError):
        if error.code in (404, 410):
            return StorageError(f"{url}: the server has no such file ({error}). Check the address.", missing=True)
        if error.code in (401, 403):
            return StorageError(
                f"{url}: the server refuses access ({error}). Check the address or ask its owner for access."
            )
        if error.code in RETRY_STATUSES:
            return retries_exhausted(url, str(error))
        return StorageError(f"{url}: the server refuses this request ({error}). Check the address.")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return StorageError(f"{url}: this is not a valid address. Correct it.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return StorageError(f"{url}: the server's certificate is not trusted ({error_text(error)}). Check the address.")
    return unexpected_error(url, error)


def _check_status(answer: Any) -> Any:
    if answer.status >= 400:
        after = answer.headers.get("Retry-After", "")
        raise _HttpError(answer.status, answer.reason or "", float(after) if after.isdigit() else 0.0)
    return answer


def _web_info(answer: Any, ranges: bool) -> Info:
    headers = answer.headers
    whole = re.search(r"/(\d+)\s*$", headers.get("Content-Range", ""))
    length = headers.get("Content-Length", "")
    size = int(whole[1]) if whole else int(length) if length.isdigit() and answer.status == 200 else -1
    version = headers.get("ETag", "") or headers.get("Last-Modified", "") or f"{size} bytes"
    of_s3 = "x-amz-request-id" in headers and "x-amz-server-side-encryption-aws-kms-key-id" not in headers
    return Info(size, version.strip('"'), md5_from_etag(version) if of_s3 else None, ranges)
