"""Photos in S3-compatible buckets, by the service's own credentials; clients read allowed places only."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from app.domain import FetchedObject, ListedObject, S3Image
from app.errors import (
    ImageTooLargeException,
    InvalidS3ObjectException,
    PhotoNotFound,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.places import AllowedPlaces
from app.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_PENDING = 64
_THREADS = 16
_UNAVAILABLE = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"}


def version_of(etag: str) -> str:
    """An object's version from its ETag, which may be quoted and weak."""
    return etag.removeprefix("W/").strip('"')


@contextmanager
def _as_service_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _UNAVAILABLE or status == 429 or status >= 500:
            raise StorageUnavailableError("The photo storage is temporarily unavailable") from error
        if status == 404 and code != "NoSuchBucket":  # a bucket that is not there says nothing of a photo
            raise PhotoNotFound from error
        raise InvalidS3ObjectException from error
    except ParamValidationError as error:
        raise InvalidS3ObjectException from error
    except BotoCoreError as error:
        raise StorageUnavailableError("The photo storage can't be reached") from error


class S3Reader:
    """Reads objects of one S3 endpoint; for the service's own storage it also writes and deletes.

    `fetch`, `fetch_unless` and `entries` ask S3_ALLOWED. The other methods do not: they are for places
    that no client names. The client is made at first use: a service without S3 settings needs no
    credentials.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._allowed = AllowedPlaces(
            settings.s3_allowed, settings.account_id, settings.storage_place("s3://")
        )
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")
        self._client: S3Client | None = None
        self._pending = 0

    async def fetch(self, image: S3Image, max_bytes: int) -> bytes:
        """The bytes of an object.

        Raises:
            InvalidS3ObjectException: not allowed, not there, or not readable; clients can't tell which.
            ImageTooLargeException: more than `max_bytes`.
            ServiceUnavailableError: the storage fails or does not answer.
        """
        try:
            found = await self.fetch_unless(image, max_bytes, None)
        except PhotoNotFound as error:
            raise InvalidS3ObjectException from error
        assert found is not None
        return found.data

    async def fetch_unless(self, image: S3Image, max_bytes: int, version: str | None) -> FetchedObject | None:
        """The bytes and the version of an object; None while it still has `version`.

        Raises:
            PhotoNotFound: the bucket has no such object.
            InvalidS3ObjectException, ImageTooLargeException, ServiceUnavailableError: as `fetch` does.
        """
        if not self._allowed.allow(image.account_id, image.bucket, image.key):
            log.info("an S3 object was refused: S3_ALLOWED does not name its place")
            raise InvalidS3ObjectException
        return await self.read(image, max_bytes, version)

    async def entries(self, prefix: S3Image) -> AsyncIterator[ListedObject]:
        """Every object whose key begins with that of `prefix`.

        Raises:
            InvalidS3ObjectException, ServiceUnavailableError: as fetching does.
        """
        self.confirm_listable(prefix)
        async for listed in self.listing(prefix):
            assert isinstance(listed.source, S3Image)
            if self._allowed.allow(prefix.account_id, prefix.bucket, listed.source.key):
                yield listed

    def confirm_listable(self, prefix: S3Image) -> None:
        """InvalidS3ObjectException unless an account may read all that begins with a prefix."""
        if not self._allowed.allow(prefix.account_id, prefix.bucket, prefix.key):
            raise InvalidS3ObjectException

    async def read(self, image: S3Image, max_bytes: int, version: str | None) -> FetchedObject | None:
        """As `fetch_unless`, from any place."""
        if self._pending >= MAX_PENDING:
            raise ThrottlingException
        self._pending += 1
        try:
            return await self._in_thread(self._read, image, max_bytes, version)
        finally:
            self._pending -= 1

    async def listing(self, prefix: S3Image) -> AsyncIterator[ListedObject]:
        """As `entries`, of any place."""
        after: str | None = ""
        while after is not None:
            found, after = await self._in_thread(self._list, prefix, after)
            for listed in found:
                yield listed

    async def put(self, bucket: str, key: str, data: bytes, content_type: str) -> None:
        """Write an object, also over one that is there.

        Raises:
            InvalidS3ObjectException, PhotoNotFound: the storage refuses it.
            ServiceUnavailableError: the storage fails or does not answer.
        """
        await self._in_thread(self._put, bucket, key, data, content_type)

    async def delete(self, bucket: str, key: str) -> None:
        """Delete an object if it is there; raises as `put` does."""
        with suppress(PhotoNotFound):  # most servers say nothing of it
            await self._in_thread(self._delete, bucket, key)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    def _list(self, prefix: S3Image, after: str) -> tuple[list[ListedObject], str | None]:
        """The next objects, and the key to continue after, if there may be more."""
        with _as_service_errors():
            page = self._connect().list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, StartAfter=after)
            rows = page.get("Contents", [])
            more = bool(rows) and rows[-1]["Key"] > after and bool(page.get("IsTruncated"))
            found = [
                ListedObject(
                    S3Image(prefix.account_id, prefix.bucket, row["Key"]),
                    version_of(row.get("ETag", "")),
                    row.get("Size", 0),
                )
                for row in rows
            ]
            return found, rows[-1]["Key"] if more else None

    def _read(self, image: S3Image, max_bytes: int, version: str | None) -> FetchedObject | None:
        asked: dict[str, Any] = {"Bucket": image.bucket, "Key": image.key}
        if image.version is not None:
            asked["VersionId"] = image.version
        if version:
            asked["IfNoneMatch"] = f'"{version}"'
        with _as_service_errors():
            try:
                found = self._connect().get_object(**asked)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 304:
                    return None
                raise
            with closing(found["Body"]) as body:
                has = version_of(found.get("ETag", ""))
                if version and has == version:
                    return None  # a server that does not look at If-None-Match
                length = found.get("ContentLength", 0)
                if length > max_bytes:
                    raise ImageTooLargeException
                data = bytes(body.read(max_bytes + 1))
        if len(data) > max_bytes:
            raise ImageTooLargeException
        if len(data) < length:
            raise StorageUnavailableError("The photo storage ended its answer too early")
        return FetchedObject(data, has)

    def _put(self, bucket: str, key: str, data: bytes, content_type: str) -> None:
        with _as_service_errors():
            self._connect().put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)

    def _delete(self, bucket: str, key: str) -> None:
        with _as_service_errors():
            self._connect().delete_object(Bucket=bucket, Key=key)

    def _connect(self) -> "S3Client":
        if self._client is None:
            secret = self._settings.s3_secret_access_key
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=self._settings.s3_endpoint_url,
                region_name=self._settings.s3_region,
                aws_access_key_id=self._settings.s3_access_key_id,
                aws_secret_access_key=secret.get_secret_value() if secret else None,
                config=Config(
                    s3={"addressing_style": "path"},
                    connect_timeout=5,
                    read_timeout=20,
                    retries={"total_max_attempts": 3, "mode": "standard"},
                    max_pool_connections=_THREADS,
                    # botocore's own checksums are AWS's: other servers refuse them or store them as data.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        return self._client

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
