"""Photos from S3-compatible buckets, by the service's own credentials and from allowed places only."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from app.domain import S3Image
from app.errors import (
    ImageTooLargeException,
    InvalidS3ObjectException,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.places import AllowedPlaces
from app.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MAX_PENDING = 64
_THREADS = 16
_UNAVAILABLE = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"}


@contextmanager
def _as_service_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _UNAVAILABLE:
            raise StorageUnavailableError("The photo storage is temporarily unavailable") from error
        raise InvalidS3ObjectException from error
    except ParamValidationError as error:
        raise InvalidS3ObjectException from error
    except BotoCoreError as error:
        raise StorageUnavailableError("The photo storage can't be reached") from error


class S3Reader:
    """Reads objects of one S3 endpoint.

    The client is made at first use: a service without S3 settings needs no credentials.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._allowed = AllowedPlaces(settings.s3_allowed, settings.account_id)
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
        if not self._allowed.allow(image.account_id, image.bucket, image.key):
            log.info("an S3 object was refused: S3_ALLOWED does not name its place")
            raise InvalidS3ObjectException
        if self._pending >= MAX_PENDING:
            raise ThrottlingException
        self._pending += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._read, image, max_bytes)
        finally:
            self._pending -= 1

    async def keys(self, account_id: str, bucket: str, prefix: str) -> AsyncIterator[str]:
        """The keys of all objects that begin with a prefix.

        Raises:
            InvalidS3ObjectException, ServiceUnavailableError: as fetching does.
        """
        self.confirm_listable(account_id, bucket, prefix)
        loop = asyncio.get_running_loop()
        last, more = "", True
        while more:
            found, more = await loop.run_in_executor(self._executor, self._list, bucket, prefix, last)
            for last in found:
                yield last

    def confirm_listable(self, account_id: str, bucket: str, prefix: str) -> None:
        """InvalidS3ObjectException unless an account may read all that begins with a prefix."""
        if not self._allowed.allow(account_id, bucket, prefix):
            raise InvalidS3ObjectException

    def _list(self, bucket: str, prefix: str, after: str) -> tuple[list[str], bool]:
        """The next keys, and whether there may be more."""
        with _as_service_errors():
            page = self._connect().list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after)
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            return keys, bool(keys) and keys[-1] > after and bool(page.get("IsTruncated"))

    def _read(self, image: S3Image, max_bytes: int) -> bytes:
        with _as_service_errors():
            client = self._connect()
            if image.version is None:
                found = client.get_object(Bucket=image.bucket, Key=image.key)
            else:
                found = client.get_object(Bucket=image.bucket, Key=image.key, VersionId=image.version)
            with closing(found["Body"]) as body:
                if found.get("ContentLength", 0) > max_bytes:
                    raise ImageTooLargeException
                data = bytes(body.read(max_bytes + 1))
            if len(data) > max_bytes:
                raise ImageTooLargeException
            return data

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
                ),
            )
        return self._client

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
