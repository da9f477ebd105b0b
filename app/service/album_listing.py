"""A worker's work on the source of an album: list it, queue what is new or changed, notice what is gone."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from uuid import UUID

from app.domain import FolderImage, ListedObject, S3Image, SupabaseImage
from app.errors import ServiceError, ServiceUnavailableError, StorageUnavailableError, ThrottlingException
from app.images.sources import ImageSources
from app.service.album_photos import AlbumPhotos, Seen
from app.service.photos import reference_of, source_of
from app.store import albums as album_store
from app.store import photos, queue
from app.store.albums import Album
from app.store.database import Database
from app.store.queue import Claim

log = logging.getLogger(__name__)

EMPTY = "SourceEmpty"
_BATCH = 500
_TRIES = 5
_WAIT_S = 3.0


class AlbumListing:
    """Lists sources of albums, page by page. A listing that was cut off begins anew."""

    def __init__(self, database: Database, photos_in: AlbumPhotos, sources: ImageSources) -> None:
        self._database = database
        self._photos = photos_in
        self._sources = sources

    async def work(self, claim: Claim) -> None:
        """List an album's source to its end.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        async with self._database.session() as session:
            album = await album_store.by_key(session, UUID(claim.subject))
            if album is None or album.source is None:
                await queue.finish(session, claim)
                return
        try:
            await self._list(claim, album)
        except (StorageUnavailableError, ThrottlingException) as error:
            if claim.attempts < _TRIES:
                async with self._database.session() as session:
                    await queue.give_back(session, claim, timedelta(seconds=_WAIT_S * claim.attempts))
                return
            await self._fail(claim, album, error.reason or error.code)
        except ServiceUnavailableError:
            raise  # the database
        except ServiceError as error:
            await self._fail(claim, album, error.reason or error.code)

    async def _list(self, claim: Claim, album: Album) -> None:
        assert album.source is not None
        prefix = source_of(album.source, album.account_id)
        assert isinstance(prefix, S3Image | SupabaseImage | FolderImage)
        async with self._database.session() as session:
            began = await photos.now(session)
        batch: list[ListedObject] = []
        is_empty = True
        async for found in self._sources.entries(prefix):
            is_empty = False
            batch.append(found)
            if len(batch) == _BATCH:
                if not await self._enter(claim, album, batch):
                    return
                batch = []
        if not await self._enter(claim, album, batch):
            return
        # So looks the mount point of a disk that is not mounted.
        if is_empty and isinstance(prefix, FolderImage):
            await self._fail(claim, album, EMPTY)
            return
        # Each one that was not listed is looked for by its own name before it counts as gone.
        while True:
            async with self._database.session() as session:
                if not await queue.hold(session, claim):
                    return
                missing = await photos.unlisted(session, album.place, album.source, began, _BATCH)
                await self._photos.enter(
                    session, album, [Seen(photo.place, photo.name, None) for photo in missing]
                )
                if len(missing) < _BATCH:
                    if is_empty:
                        await album_store.change(session, album.place, {"listing_error": EMPTY})
                    await queue.finish(session, claim)
                    return

    async def _enter(self, claim: Claim, album: Album, batch: Sequence[ListedObject]) -> bool:
        """Queue a page; False when the listing is no longer this worker's."""
        assert album.source is not None
        seen = []
        for found in batch:
            place = reference_of(found.source)
            assert place is not None
            path = PurePosixPath(place.partition("/")[2])
            if path.name.startswith(".") or (place.endswith("/") and found.size == 0):
                continue  # what file systems and storages keep for themselves
            seen.append(Seen(place, name_in(album.source, place), found.version, found.size))
        async with self._database.session() as session:
            if not await queue.hold(session, claim):
                return False
            await self._photos.enter(session, album, seen)
        return True

    async def _fail(self, claim: Claim, album: Album, reason: str) -> None:
        log.warning("the source of an album could not be listed: %s", reason)
        async with self._database.session() as session:
            if await queue.finish(session, claim):
                await album_store.change(session, album.place, {"listing_error": reason})


def name_in(source: str, place: str) -> str:
    """What people call a photo: its path below the last folder that the source names."""
    folder = source[: source.rfind("/") + 1]
    return place.removeprefix(folder) or place
