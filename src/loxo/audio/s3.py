"""Objects in S3 and in storage with the same protocol, with s3fs.

Endpoint, region and credentials are those of the AWS tools (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE, ...).
Without credentials, requests are anonymous, as public archives require. If a server refuses the credentials for
reading, the request is repeated without them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import IO, Any, TypeVar

import s3fs
from botocore.exceptions import BotoCoreError

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
    is_transient,
    md5_from_etag,
    retries_exhausted,
    unexpected_error,
)

CREDENTIAL_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "HOME")
PUBLIC_BUCKETS: set[str] = set()  # buckets that refuse the credentials but allow anonymous reading

T = TypeVar("T")
Action = Callable[[Any], Coroutine[Any, Any, T]]


class S3Store:
    """s3://bucket/key."""

    def info(self, url: str) -> Info:
        async def head(s3: Any) -> Info:
            return _s3_info(await s3._call_s3("head_object", **_bucket_and_key(url)))

        return self._read(url, head)

    def get(self, url: str, start: int, stop: int) -> tuple[Info, bytes]:
        async def part(s3: Any) -> tuple[Info, bytes]:
            answer = await s3._call_s3("get_object", **_bucket_and_key(url), Range=f"bytes={start}-{stop - 1}")
            async with answer["Body"] as body:
                data = await body.read()
            check_length(len(data), answer["ContentLength"])
            return _s3_info(answer), data

        try:
            return self._read(url, part)
        except StorageError as error:
            if _code(error.__cause__)[0] == 416:  # an empty object has no first byte
                return self.info(url), b""
            raise

    def copy(self, url: str, file: IO[bytes]) -> Info:
        async def whole(s3: Any) -> Info:
            file.seek(0)
            file.truncate()
            answer = await s3._call_s3("get_object", **_bucket_and_key(url))
            async with answer["Body"] as body:
                while chunk := await body.read(COPY_BYTES):
                    file.write(chunk)
            check_length(file.tell(), answer["ContentLength"])
            return _s3_info(answer)

        return self._read(url, whole)

    def listing(self, prefix: str) -> Iterator[tuple[str, Info | None]]:
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        place = {"Bucket": bucket, "Prefix": key}
        while True:

            async def page(s3: Any, place: dict[str, str] = place) -> Any:
                return await s3._call_s3("list_objects_v2", **place)

            answer = self._read(prefix, page)
            for item in answer.get("Contents", ()):
                if not item["Key"].endswith("/"):  # marks an empty folder
                    yield f"s3://{bucket}/{item['Key']}", Info(item["Size"], item["ETag"].strip('"'))
            if not answer.get("IsTruncated"):
                return
            place = {**place, "ContinuationToken": answer["NextContinuationToken"]}

    def put(self, url: str, data: bytes) -> None:
        async def write(s3: Any) -> None:
            await s3._pipe_file(url, data)

        self._call(url, write, anonymous=not _has_credentials(), writing=True)

    def delete(self, url: str) -> None:
        async def remove(s3: Any) -> None:
            await s3._call_s3("delete_object", **_bucket_and_key(url))

        self._call(url, remove, anonymous=not _has_credentials(), writing=True)

    def _read(self, url: str, action: Action[T]) -> T:
        bucket = url.removeprefix("s3://").partition("/")[0]
        anonymous = bucket in PUBLIC_BUCKETS or not _has_credentials()
        try:
            return self._call(url, action, anonymous)
        except StorageError as error:
            if anonymous or _code(error.__cause__)[0] != 403:
                raise
            try:
                result = self._call(url, action, anonymous=True)
            except StorageError:
                raise error from None
            PUBLIC_BUCKETS.add(bucket)
            return result

    def _call(self, url: str, action: Action[T], anonymous: bool, writing: bool = False) -> T:
        s3 = s3fs.S3FileSystem(
            anon=anonymous,
            endpoint_url=_endpoint(),
            use_listings_cache=False,
            config_kwargs={
                "retries": {"max_attempts": 0},  # done in call_with_retries, as for web servers
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "request_checksum_calculation": "when_required",  # some servers do not support the new checksums
                "response_checksum_validation": "when_required",
            },
        )
        s3.retries = 1

        def explain(error: BaseException) -> StorageError:
            return _s3_error(url, error, anonymous, writing)

        return call_with_retries(lambda: action(s3), s3.loop, explain)


def _s3_error(url: str, error: BaseException, anonymous: bool, writing: bool) -> StorageError:
    code, name = _code(error)
    bucket = url.removeprefix("s3://").partition("/")[0]
    at = f" at {endpoint}" if (endpoint := _endpoint()) else ""
    if name == "NoSuchBucket":
        return StorageError(f"{url}: there is no bucket {bucket!r}{at}. Check its name.", missing=True)
    if code == 404:
        return StorageError(
            f"{url}: there is no such object{at}. Check the name: upper and lower case differ.", missing=True
        )
    if code in (401, 403):
        caller = "anonymous requests" if anonymous else "the current credentials"
        if writing or not anonymous:
            return StorageError(f"{url}: {caller} have no access ({name}). Set others, as for the AWS command line.")
        return StorageError(
            f"{url}: {caller} have no access, or there is no such object ({name}). Check the name, or set credentials "
            "as for the AWS command line."
        )
    if code in RETRY_STATUSES or name in ("SlowDown", "RequestTimeout", "InternalError") or "Throttl" in name:
        return retries_exhausted(url, f"{code} {name}")
    if code:
        return StorageError(f"{url}: the storage refuses this request ({code} {name}). Check the address.")
    if isinstance(error, BotoCoreError | ValueError) and not is_transient(
        error
    ):  # for example a space in a bucket name
        return StorageError(f"{url}: this is not a valid address ({error_text(error)}). Correct it.")
    return unexpected_error(url, error)


def _code(error: BaseException | None) -> tuple[int, str]:
    """Returns the HTTP status and S3's name of an error; (0, "") without a response of the server."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status, response.get("Error", {}).get("Code", "")
        error = error.__cause__
    return 0, ""


def _s3_info(answer: dict[str, Any]) -> Info:
    whole = answer.get("ContentRange", "").rpartition("/")[2]
    etag = answer["ETag"].strip('"')
    plain = answer.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in answer
    return Info(
        int(whole) if whole.isdigit() else answer["ContentLength"], etag, md5_from_etag(etag) if plain else None
    )


def _bucket_and_key(url: str) -> dict[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _has_credentials() -> bool:
    return _find_credentials(tuple(os.environ.get(name) for name in CREDENTIAL_VARIABLES))


@functools.cache
def _find_credentials(environment: tuple[str | None, ...]) -> bool:
    """Returns True if the AWS tools find credentials. On Amazon's computers, they request them from a local service."""
    import botocore.session

    try:
        return botocore.session.Session().get_credentials() is not None
    except Exception:  # a missing profile or an invalid file: s3fs will report it
        return True
