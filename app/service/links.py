"""Links to photos and thumbnails: signed, expiring, and good for one file each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from app.domain import ImageLimits
from app.errors import ResourceNotFoundException, ServiceError, ServiceUnavailableError
from app.images.decode import header_of
from app.images.sources import ImageSources
from app.images.storage import PhotoStorage
from app.service.album_photos import MEDIA_TYPES, thumbnail_key
from app.service.own_tokens import InvalidTokenError, OwnTokens
from app.service.photos import source_of
from app.store import albums as album_store
from app.store import photos as store
from app.store.database import Database

Kind: TypeAlias = Literal["thumbnail", "original"]


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    media_type: str
    name: str


class Links:
    """Makes links, and reads the files that they name."""

    def __init__(
        self,
        database: Database,
        sources: ImageSources,
        storage: PhotoStorage,
        limits: ImageLimits,
        secret: bytes,
        minutes: int,
    ) -> None:
        self._database = database
        self._sources = sources
        self._storage = storage
        self._limits = limits
        self._tokens = OwnTokens(secret, "photo")
        self._lifetime = timedelta(minutes=minutes)

    def token(self, photo_id: UUID, kind: Kind) -> str:
        """What a link to a photo carries."""
        expires = datetime.now(UTC) + self._lifetime
        return self._tokens.make({"sub": str(photo_id), "kind": kind}, expires)

    async def read(self, token: str) -> File:
        """The file of a link.

        Raises:
            ResourceNotFoundException: no link of ours, expired, or the photo is no longer in the album.
            ServiceUnavailableError: the storage fails.
        """
        try:
            claims = self._tokens.claims(token, "sub", "kind")
            photo_id = UUID(claims["sub"])
        except (InvalidTokenError, ValueError):
            raise _gone() from None
        async with self._database.session() as session:
            photo = await store.get(session, photo_id)
            album = None
            if photo is not None and photo.state in ("done", "pending"):
                album = await album_store.find(session, (photo.account_id, photo.album_id))
        if photo is None or album is None:
            raise _gone()
        try:
            if claims["kind"] == "thumbnail":
                if not photo.thumbnail:
                    raise _gone()
                found = await self._storage.read(thumbnail_key(album, photo_id), self._limits.max_bytes)
                return File(found.data, "image/webp", f"{photo_id}.webp")
            source = source_of(photo.place, photo.account_id)
            data = await self._sources.fetch(source, self._limits.max_bytes)
            return File(
                data, MEDIA_TYPES[header_of(data, self._limits).format], photo.name.rpartition("/")[2]
            )
        except ServiceUnavailableError:
            raise
        except ServiceError as error:
            raise _gone() from error


def _gone() -> ResourceNotFoundException:
    return ResourceNotFoundException("The link is not good, or not any more", reason="LinkNotFound")
