"""Photos from Supabase Storage over its REST API, by the service role key.

https://supabase.com/docs/reference/self-hosting-storage/introduction: GET /object/{bucket}/{path} reads,
POST /object/list/{bucket} lists one folder. A missing object is 400 or 404, by version.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx

from app.domain import SupabaseImage
from app.errors import (
    ImageTooLargeException,
    InvalidSupabaseObjectException,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.places import AllowedPlaces
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_PENDING = 64
_TIMEOUT_S = 20.0
_PAGE = 1000


class SupabaseReader:
    """Reads and lists one bucket of one Supabase project."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.supabase_storage_bucket
        self._places = AllowedPlaces(settings.supabase_allowed or (self._bucket,), settings.account_id)
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
        client = self._allowed(image)
        if self._pending >= MAX_PENDING:
            raise ThrottlingException
        self._pending += 1
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                client.stream("GET", f"/{self._bucket}/{quote(image.path)}") as answer,
            ):
                _check(answer.status_code)
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > max_bytes:
                        raise ImageTooLargeException
                return bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise StorageUnavailableError("The photo storage can't be reached") from error
        finally:
            self._pending -= 1

    async def paths(self, prefix: SupabaseImage) -> AsyncIterator[str]:
        """The paths of all objects that begin with that of `prefix`, folder by folder.

        Raises:
            InvalidSupabaseObjectException, ServiceUnavailableError: as fetching does.
        """
        client = self.confirm_listable(prefix)
        folder, _, start = prefix.path.rpartition("/")
        folders = [(folder, start)]
        while folders:
            folder, start = folders.pop()
            async for name, is_folder in self._entries(client, folder):
                path = f"{folder}/{name}" if folder else name
                if not name.startswith(start):
                    continue
                if is_folder:
                    folders.append((path, ""))
                else:
                    yield path

    def confirm_listable(self, prefix: SupabaseImage) -> httpx.AsyncClient:
        """InvalidSupabaseObjectException unless an account may read all that begins with a prefix."""
        return self._allowed(prefix)

    async def _entries(self, client: httpx.AsyncClient, folder: str) -> AsyncIterator[tuple[str, bool]]:
        offset, last = 0, None
        while True:
            asked = {
                "prefix": folder,
                "limit": _PAGE,
                "offset": offset,
                "sortBy": {"column": "name", "order": "asc"},
            }
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    answer = await client.post(f"/list/{self._bucket}", json=asked)
                _check(answer.status_code)
                rows = [(str(row["name"]), row.get("id") is None) for row in answer.json()]
            except (httpx.HTTPError, TimeoutError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise StorageUnavailableError("The photo storage can't be listed") from error
            for row in rows:
                yield row
            if len(rows) < _PAGE or rows[-1] == last:
                return  # the end, or a server that answers every page alike
            offset, last = offset + len(rows), rows[-1]

    def _allowed(self, image: SupabaseImage) -> httpx.AsyncClient:
        if self._client is None:
            raise InvalidSupabaseObjectException(
                "Supabase Storage is not set up: SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY are missing",
                reason="SupabaseNotConfigured",
            )
        known = image.bucket == self._bucket
        if not known or not self._places.allow(image.account_id, image.bucket, image.path):
            log.info("a Supabase object was refused: SUPABASE_ALLOWED does not name its place")
            raise InvalidSupabaseObjectException
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _check(status: int) -> None:
    if status == 200:
        return
    if status in (401, 403):
        log.warning("Supabase Storage refused SUPABASE_SERVICE_ROLE_KEY (%s)", status)
    if status == 429 or status >= 500:
        raise StorageUnavailableError("The photo storage is temporarily unavailable")
    raise InvalidSupabaseObjectException
