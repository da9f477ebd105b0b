"""Rules of the photos of albums: how they come in, what is queued, what is shown of them."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Caller, ImageFormat, ImageLimits, Page, StoredImage
from app.engine.pool import InferencePool
from app.errors import (
    ImageTooLargeException,
    InvalidImageFormatException,
    InvalidParameterException,
    ResourceNotFoundException,
    ServiceError,
)
from app.images.decode import header_of
from app.images.recompress import recompressed
from app.images.storage import PhotoStorage
from app.service.albums import Albums
from app.service.photos import source_of, stored_reference
from app.store import albums as album_store
from app.store import faces, matches, queue
from app.store import photos as store
from app.store.albums import Album
from app.store.database import Database
from app.store.matches import PhotoFace
from app.store.photos import NewPhoto, Photo, State

# What a photo's name may end with; the bytes decide what it is.
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"})
PHOTO_KIND = store.KIND
NOT_A_PHOTO = "NotAPhoto"
GONE = "PhotoNotFound"
EXCLUDED = "Excluded"
_ENDING_OF = {
    ImageFormat.JPEG: ".jpg",
    ImageFormat.PNG: ".png",
    ImageFormat.WEBP: ".webp",
    ImageFormat.HEIC: ".heic",
}
MEDIA_TYPES = {
    ImageFormat.JPEG: "image/jpeg",
    ImageFormat.PNG: "image/png",
    ImageFormat.WEBP: "image/webp",
    ImageFormat.HEIC: "image/heic",
}
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as a client sent it."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of an upload: a photo of the album, or why not."""

    name: str
    photo_id: UUID | None
    queued: bool
    refused: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo that somebody told of; without a `version`, it has to be looked at."""

    place: str
    name: str
    version: str | None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PhotoDetail:
    photo: Photo
    faces: tuple[PhotoFace, ...]


class AlbumPhotos:
    """Photos of albums.

    Args:
        fingerprint: of the model and the settings that find faces; photos of another are indexed anew.
        cache_days: after how long an unchanged photo is looked at again; 0 for never.
    """

    def __init__(
        self,
        database: Database,
        albums: Albums,
        storage: PhotoStorage,
        pool: InferencePool,
        limits: ImageLimits,
        fingerprint: str,
        cache_days: int,
    ) -> None:
        self._database = database
        self._albums = albums
        self._storage = storage
        self._pool = pool
        self._limits = limits
        self._fingerprint = fingerprint
        self._cache = timedelta(days=cache_days)

    async def upload(
        self, caller: Caller, album_id: str, files: AsyncIterator[Upload]
    ) -> AsyncIterator[Uploaded]:
        """Keep files one by one as they come and queue them; the same file twice is one photo."""
        async with self._database.session() as session:
            album = await self._albums.require(session, caller, album_id, searchable=True)
        async for file in files:
            try:
                yield await self._keep(caller, album, file)
            except (
                ImageTooLargeException,
                InvalidImageFormatException,
                InvalidParameterException,
            ) as error:
                yield Uploaded(file.name, None, False, error)

    async def process(self, caller: Caller, album_id: str) -> None:
        """Have a worker list the album's source and queue what is new or changed there."""
        async with self._database.session() as session:
            album = await self._albums.require(session, caller, album_id, searchable=True)
            if album.source is None:
                raise InvalidParameterException(
                    "The album has no source to list; its photos are uploaded", reason="NoSource"
                )
            await album_store.change(session, album.place, {"listing_error": None})
            lane = queue.tasks_lane(album.face_model_version)
            await queue.put(session, lane, "listing", [str(album.album_key)], album.place)

    async def retry(self, caller: Caller, album_id: str) -> int:
        """Queue all failed photos again; returns how many."""
        retried = 0
        while True:
            async with self._database.session() as session:
                album = await self._albums.require(session, caller, album_id, searchable=True)
                failed = await store.failed(session, album.place, _BATCH)
                await store.again(session, {photo.photo_id: photo.version for photo in failed})
                await self._queue(session, album, [photo.photo_id for photo in failed])
            retried += len(failed)
            if len(failed) < _BATCH:
                return retried

    async def page(
        self, caller: Caller, album_id: str, *, state: State | None, after: UUID | None, limit: int
    ) -> Page[Photo]:
        """Photos in the order of their ids."""
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id)
            return await store.page(reader, album.place, state=state, after=after, limit=limit)

    async def get(self, caller: Caller, album_id: str, photo_id: UUID) -> PhotoDetail:
        """A photo with every face and the guests they were taken for."""
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id)
            photo = await store.find(reader, album.place, photo_id)
            if photo is None:
                raise _unknown()
            found = await matches.faces_of(reader, album.place, photo_id)
            return PhotoDetail(photo, tuple(found))

    async def remove(self, caller: Caller, album_id: str, photo_id: UUID) -> None:
        """Erase a photo's faces and results; an upload's file too.

        A photo of the source stays out of the album, also when the source is listed again.
        """
        async with self._database.session() as session:
            album = await self._albums.require(session, caller, album_id)
            await album_store.keep_apart(session, album.place, guests=False)
            await store.lock(session, photo_id)
            photo = await store.find(session, album.place, photo_id)
            if photo is None:
                raise _unknown()
            await queue.drop(session, store.KIND, [str(photo_id)])
            await faces.erase_of_photo(session, *album.place, photo_id)
            source = source_of(photo.place, photo.account_id)
            if isinstance(source, StoredImage):
                await store.remove(session, album.place, photo_id)
            else:
                values = {"reason": EXCLUDED, "faces": 0, "indexed_version": None, "thumbnail": False}
                await store.finish(session, photo_id, "skipped", values)
        async with self._database.session() as session:
            # The same file may have come again since.
            await store.lock_files(session, photo_id)
            again = isinstance(source, StoredImage) and await store.find(session, album.place, photo_id)
            if not again:
                if isinstance(source, StoredImage):
                    await self._storage.delete(source.key)
                await self._storage.delete(thumbnail_key(album, photo_id))

    async def enter(self, session: AsyncConnection, album: Album, seen: Sequence[Seen]) -> int:
        """Queue those photos that are new or changed; returns how many."""
        latest = {album.photo_id(photo.place): photo for photo in seen}
        known = await store.known(session, list(latest))
        new, again, same = [], {}, []
        for photo_id, photo in latest.items():
            before = known.get(photo_id)
            if before is None:
                refusal = self._refusal(photo)
                new.append(NewPhoto(photo_id, photo.place, photo.name, photo.version, refusal))
            elif self._is_due(before, photo.version):
                again[before.photo_id] = photo.version
            else:
                same.append(before.photo_id)
        queued = await store.add(session, album.place, new)
        await store.again(session, again)
        await store.seen(session, same)
        await self._queue(session, album, [*queued, *again])
        return len(queued) + len(again)

    async def _queue(self, session: AsyncConnection, album: Album, photo_ids: Sequence[UUID]) -> None:
        lane = queue.photos_lane(album.face_model_version)
        await queue.put(session, lane, store.KIND, [str(photo_id) for photo_id in photo_ids], album.place)

    def _refusal(self, photo: Seen) -> str | None:
        """Why a photo is not even fetched."""
        if PurePosixPath(photo.name).suffix.lower() not in ENDINGS:
            return NOT_A_PHOTO
        if photo.size is not None and photo.size > self._limits.max_bytes:
            return "ImageTooLarge"
        return None

    def _is_due(self, photo: Photo, version: str | None) -> bool:
        """Whether a known photo has to be looked at (again)."""
        if photo.reason in (EXCLUDED, NOT_A_PHOTO):
            return False
        if version is None or photo.reason == GONE:
            return True
        if photo.state != "done":
            return version != photo.version
        if version != photo.indexed_version or photo.fingerprint != self._fingerprint:
            return True
        if not self._cache or photo.finished_at is None:
            return False
        return photo.finished_at < datetime.now(UTC) - self._cache

    async def _keep(self, caller: Caller, album: Album, file: Upload) -> Uploaded:
        data = file.data
        found = header_of(data, self._limits)
        kind = found.format
        if album.recompress:
            data = await self._pool.run(lambda: recompressed(file.data, self._limits))
            kind = ImageFormat.JPEG
        # Told apart by what came, so that a file that comes again is the same photo.
        digest = hashlib.sha256(file.data).hexdigest()
        key = f"{album.storage_prefix}uploads/{digest}{_ENDING_OF[kind]}"
        place, name = stored_reference(key), _file_name(file.name, digest, _ENDING_OF[found.format])
        await self._storage.write(key, data, MEDIA_TYPES[kind])
        try:
            async with self._database.session() as session:
                current = await self._albums.require(session, caller, album.album_id, searchable=True)
                if current.album_key != album.album_key:
                    raise ResourceNotFoundException(f"The album {album.album_id} was deleted")
                await store.lock_files(session, album.photo_id(place))
                queued = await self.enter(session, album, [Seen(place, name, digest)])
        except ResourceNotFoundException:
            await self._storage.delete(key)
            raise
        if queued and not await self._storage.exists(key):
            # Who erased the same photo took this file with theirs; from now on they would see that it came.
            await self._storage.write(key, data, MEDIA_TYPES[kind])
            async with self._database.session() as session:
                await self.enter(session, album, [Seen(place, name, digest)])
        return Uploaded(file.name, album.photo_id(place), bool(queued))


def thumbnail_key(album: Album, photo_id: UUID) -> str:
    """Where the thumbnail of a photo lies in the service's storage."""
    return f"{album.storage_prefix}thumbnails/{photo_id}.webp"


def _file_name(sent: str, digest: str, ending: str) -> str:
    """The last part of a file's name as a client sent it, or one of our own."""
    name = "".join(letter for letter in PurePosixPath(sent.replace("\\", "/")).name if letter.isprintable())
    if PurePosixPath(name).suffix.lower() not in ENDINGS:
        name = f"{name[:200] or digest[:12]}{ending}"
    return name[-255:]


def _unknown() -> ResourceNotFoundException:
    return ResourceNotFoundException("The album has no such photo", reason="PhotoNotFound")
