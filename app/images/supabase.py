"""Photos in Supabase Storage over its REST API, by the service role key.

https://supabase.com/docs/reference/self-hosting-storage/introduction: GET /object/{bucket}/{path} reads,
POST /object/list/{bucket} lists one folder, POST /object/{bucket}/{path} writes, DELETE /object/{bucket}
deletes. A missing object is 400 or 404, by version.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from app.domain import FetchedObject, ListedObject, SupabaseImage
from app.errors import (
    ImageTooLargeException,
    InvalidSupabaseObjectException,
    PhotoNotFound,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.places import AllowedPlaces
from app.images.s3 import version_of
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_PENDING = 64
_TIMEOUT_S = 20.0
_PAGE = 1000
_MAX_ERROR_BYTES = 65_536


@contextmanager
def _as_service_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise StorageUnavailableError("The photo storage can't be reached") from error


class SupabaseReader:
    """Reads and lists one bucket of one Supabase project; for the service's own storage it also writes.

    `fetch`, `fetch_unless` and `entries` ask SUPABASE_ALLOWED. The other methods do not, and reach every
    bucket: they are for places that no client names.
    """

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.supabase_storage_bucket
        self._places = AllowedPlaces(
            settings.supabase_allowed or (self._bucket,),
            settings.account_id,
            settings.storage_place("supabase:"),
        )
        key = settings.supabase_service_role_key
        secret = key.get_secret_value() if key else ""
        self._pending = 0
        self._client: httpx.AsyncClient | None = None
        if settings.supabase_url is not None and secret:
            self._client = httpx.AsyncClient(
                base_url=f"{settings.supabase_url.rstrip('/')}/storage/v1/object",
                headers={"Authorization": f"Bearer {secret}", "apikey": secret},
                timeout=_TIMEOUT_S,
                limits=httpx.Limits(max_connections=MAX_PENDING),
                trust_env=False,
            )

    async def fetch(self, image: SupabaseImage, max_bytes: int) -> bytes:
        """The bytes of an object.

        Raises:
            InvalidSupabaseObjectException: not allowed, not there, or not readable; clients can't tell which.
            ImageTooLargeException: more than `max_bytes`.
            ServiceUnavailableError: the storage fails or does not answer.
        """
        try:
            found = await self.fetch_unless(image, max_bytes, None)
        except PhotoNotFound as error:
            raise InvalidSupabaseObjectException from error
        assert found is not None
        return found.data

    async def fetch_unless(
        self, image: SupabaseImage, max_bytes: int, version: str | None
    ) -> FetchedObject | None:
        """The bytes and the version of an object; None while it still has `version`.

        Raises:
            PhotoNotFound: the bucket has no such object.
            InvalidSupabaseObjectException, ImageTooLargeException, ServiceUnavailableError: as `fetch` does.
        """
        self.confirm_listable(image)
        return await self.read(image, max_bytes, version)

    async def entries(self, prefix: SupabaseImage) -> AsyncIterator[ListedObject]:
        """Every object whose path begins with that of `prefix`, folder by folder.

        Raises:
            InvalidSupabaseObjectException, ServiceUnavailableError: as fetching does.
        """
        self.confirm_listable(prefix)
        async for listed in self.listing(prefix):
            assert isinstance(listed.source, SupabaseImage)
            if self._places.allow(prefix.account_id, prefix.bucket, listed.source.path):
                yield listed

    def confirm_listable(self, prefix: SupabaseImage) -> None:
        """InvalidSupabaseObjectException unless an account may read all that begins with a prefix."""
        self._connected()
        known = prefix.bucket == self._bucket
        if not known or not self._places.allow(prefix.account_id, prefix.bucket, prefix.path):
            log.info("a Supabase object was refused: SUPABASE_ALLOWED does not name its place")
            raise InvalidSupabaseObjectException

    async def read(self, image: SupabaseImage, max_bytes: int, version: str | None) -> FetchedObject | None:
        """As `fetch_unless`, from any place."""
        client = self._connected()
        if self._pending >= MAX_PENDING:
            raise ThrottlingException
        self._pending += 1
        try:
            with _as_service_errors():
                async with (
                    asyncio.timeout(_TIMEOUT_S),
                    client.stream(
                        "GET",
                        f"/{image.bucket}/{quote(image.path)}",
                        headers={"If-None-Match": f'"{version}"'} if version else None,
                    ) as answer,
                ):
                    has = version_of(answer.headers.get("ETag", ""))
                    if version and (answer.status_code == 304 or (answer.is_success and has == version)):
                        return None
                    await _check(answer)
                    return FetchedObject(await _body(answer, max_bytes), has)
        finally:
            self._pending -= 1

    async def listing(self, prefix: SupabaseImage) -> AsyncIterator[ListedObject]:
        """As `entries`, of any place."""
        folder, _, start = prefix.path.rpartition("/")
        folders = [(folder, start)]
        while folders:
            folder, start = folders.pop()
            async for row in self._rows(prefix.bucket, folder):
                name = str(row["name"])
                path = f"{folder}/{name}" if folder else name
                if not name.startswith(start):
                    continue
                if row.get("id") is None:
                    folders.append((path, ""))
                else:
                    yield _listed(SupabaseImage(prefix.account_id, prefix.bucket, path), row)

    async def put(self, bucket: str, path: str, data: bytes, content_type: str) -> None:
        """Write an object, also over one that is there.

        Raises:
            InvalidSupabaseObjectException, PhotoNotFound: the storage refuses it.
            ServiceUnavailableError: the storage fails or does not answer.
        """
        headers = {"Content-Type": content_type, "x-upsert": "true"}
        await self._send("POST", f"/{bucket}/{quote(path)}", content=data, headers=headers)

    async def delete(self, bucket: str, paths: Sequence[str]) -> None:
        """Delete those objects that are there, at most 1000; raises as `put` does."""
        await self._send("DELETE", f"/{bucket}", json={"prefixes": list(paths)})

    async def _rows(self, bucket: str, folder: str) -> AsyncIterator[dict[str, Any]]:
        """What the storage says of each object and each folder in a folder."""
        offset, last = 0, None
        while True:
            asked = {
                "prefix": folder,
                "limit": _PAGE,
                "offset": offset,
                "sortBy": {"column": "name", "order": "asc"},
            }
            try:
                answer = await self._send("POST", f"/list/{bucket}", json=asked)
                rows = [dict(row) for row in answer.json()]
                names = [row["name"] for row in rows]
            except PhotoNotFound as error:
                raise InvalidSupabaseObjectException from error
            except (ValueError, TypeError, KeyError) as error:
                raise StorageUnavailableError("The photo storage can't be listed") from error
            for row in rows:
                yield row
            if len(rows) < _PAGE or names[-1] == last:
                return  # the end, or a server that answers every page alike
            offset, last = offset + len(rows), names[-1]

    async def _send(self, method: str, url: str, **what: Any) -> httpx.Response:
        client = self._connected()
        with _as_service_errors():
            async with asyncio.timeout(_TIMEOUT_S), client.stream(method, url, **what) as answer:
                await _check(answer)
                await answer.aread()
                return answer

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            raise InvalidSupabaseObjectException(
                "Supabase Storage is not set up: SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY are missing",
                reason="SupabaseNotConfigured",
            )
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _listed(source: SupabaseImage, row: dict[str, Any]) -> ListedObject:
    about = row.get("metadata")
    if not isinstance(about, dict):
        about = {}
    size = about.get("size")
    version = version_of(str(about.get("eTag") or "")) or str(row.get("updated_at") or "")
    return ListedObject(source, version, size if isinstance(size, int) else 0)


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise ImageTooLargeException
    return bytes(body)


async def _check(answer: httpx.Response) -> None:
    """Raise what a status stands for, unless it is 200."""
    status = answer.status_code
    if status == 200:
        return
    if status in (401, 403):
        log.warning("Supabase Storage refused SUPABASE_SERVICE_ROLE_KEY (%s)", status)
    if status == 429 or status >= 500:
        raise StorageUnavailableError("The photo storage is temporarily unavailable")
    if status in (400, 404) and await _says_not_found(answer):
        raise PhotoNotFound
    raise InvalidSupabaseObjectException


async def _says_not_found(answer: httpx.Response) -> bool:
    """Whether an error is about a missing object, and not about a missing bucket."""
    try:
        said = json.loads(await _body(answer, _MAX_ERROR_BYTES))
    except (ValueError, ImageTooLargeException):
        said = None
    if not isinstance(said, dict):
        return answer.status_code == 404
    words = " ".join(str(said.get(name, "")) for name in ("error", "message", "code")).lower()
    missing = answer.status_code == 404 or str(said.get("statusCode")) == "404" or "not_found" in words
    return missing and "bucket" not in words
