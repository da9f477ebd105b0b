"""Rules of albums: a collection, and the photos whose faces it holds."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Caller, Page, Prefix, Role, S3Image
from app.engine.similarity import SimilarityCurve
from app.errors import (
    AccessDeniedException,
    ConflictException,
    InvalidParameterException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from app.images.sources import ImageSources
from app.service.collections import Collections, remove
from app.service.members import DEFAULT_COLLECTION
from app.service.photos import reference_of
from app.store import albums as store
from app.store import collections as collection_store
from app.store import matches, photos
from app.store.albums import Album, Counts
from app.store.database import Database
from app.store.photos import Photo

SHOWN_FAILURES = 100
OWNER_MAX = 255
AUTOMATIC_CODE = "auto"
_CODE = re.compile(r"[A-Za-z0-9_.-]{6,64}")
# Without letters and digits that people take for each other.
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_CODE_LENGTH = 10


@dataclass(frozen=True, slots=True)
class AlbumWishes:
    """What a new album is to be. `threshold` is a Similarity, 1..100."""

    album_id: str
    title: str | None
    source: Prefix | None
    threshold: float
    retention_days: int | None
    event_code: str | None
    recompress: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an album is. `eta_s` is None while there is nothing to go by."""

    counts: Counts
    listing: bool
    listing_error: str | None
    failures: tuple[Photo, ...]

    @property
    def finished(self) -> bool:
        return not (self.listing or self.counts.pending or self.counts.processing)

    @property
    def eta_s(self) -> float | None:
        if self.finished:
            return 0.0
        left = self.counts.pending + self.counts.processing
        return left / self.counts.rate if left and self.counts.rate else None


class Albums:
    """Albums of an account. An app user without more rights sees their own alone."""

    def __init__(
        self, database: Database, collections: Collections, sources: ImageSources, curve: SimilarityCurve
    ) -> None:
        self._database = database
        self._collections = collections
        self._sources = sources
        self._curve = curve

    async def create(self, caller: Caller, wishes: AlbumWishes) -> Album:
        """Make an album with its collection.

        Raises:
            AccessDeniedException: the caller's key leaves this id out.
            ResourceAlreadyExistsException: there is a collection of this id.
            ConflictException: the event code is another album's.
            InvalidS3ObjectException, InvalidSupabaseObjectException, InvalidFolderObjectException: the
                account may not read the source.
        """
        _confirm_maker(caller)
        if not caller.sees(wishes.album_id):
            raise AccessDeniedException
        if wishes.album_id in (".", ".."):
            raise InvalidParameterException("id: no address can have such a part", reason="InvalidField")
        if caller.own_subject is not None:
            if wishes.album_id == DEFAULT_COLLECTION:  # everybody's members go there
                raise _exists(wishes.album_id)
            if len(caller.own_subject) > OWNER_MAX:
                raise AccessDeniedException("The subject of your token is too long")
        if wishes.source is not None:
            _confirm_own(caller, wishes.source)
            self._sources.confirm_listable(wishes.source)
        place = (caller.account_id, wishes.album_id)
        async with self._database.session() as session:
            if not await collection_store.create(
                session, *place, self._collections.face_model_version, owner=caller.own_subject
            ):
                raise _exists(wishes.album_id)
            if not await store.create(
                session,
                place,
                uuid4(),
                title=wishes.title,
                source=None if wishes.source is None else reference_of(wishes.source),
                threshold=wishes.threshold,
                retention_days=wishes.retention_days,
                event_code=_code(wishes.event_code),
                recompress=wishes.recompress,
            ):
                raise _code_taken()
            return await self.require(session, caller, wishes.album_id)

    async def get(self, caller: Caller, album_id: str) -> Album:
        """An album; ResourceNotFoundException when there is none that the caller sees."""
        async with self._database.reading() as reader:
            return await self.require(reader, caller, album_id)

    async def page(self, caller: Caller, after: str | None, limit: int) -> Page[Album]:
        """Albums in the order of their ids."""
        async with self._database.reading() as reader:
            return await store.page(
                reader, caller.account_id, caller.collections, caller.own_subject, after, limit
            )

    async def change(self, caller: Caller, album_id: str, changes: Mapping[str, Any]) -> Album:
        """Change title, threshold, retention_days, event_code or recompress; None takes one away.

        With another threshold, guests are matched anew.
        """
        _confirm_maker(caller)
        values = dict(changes)
        if "event_code" in values:
            values["event_code"] = _code(values["event_code"])
        place = (caller.account_id, album_id)
        async with self._database.session(long=True) as session:
            await self.require(session, caller, album_id, keep=True)
            if values and not await store.change(session, place, values):
                raise _code_taken()
            changed = await self.require(session, caller, album_id)
            if "threshold" in values:
                await store.keep_apart(session, place, guests=True)
                await matches.match_all_guests(session, place, self._curve.cosine(changed.threshold))
            return changed

    async def delete(self, caller: Caller, album_id: str) -> None:
        """Erase an album: vectors, guests and results at once, its files by a worker soon after."""
        _confirm_maker(caller)
        async with self._database.session(long=True) as session:
            await self.require(session, caller, album_id)
            await remove(session, (caller.account_id, album_id))

    async def progress(self, caller: Caller, album_id: str) -> Progress:
        """How far an album is, with up to 100 of its failed photos."""
        # Photos that a listing enters at its end are pending before it is over, also to one who asks now.
        async with self._database.snapshot() as session:
            album = await self.require(session, caller, album_id)
            failed = await photos.page(session, album.place, state="failed", after=None, limit=SHOWN_FAILURES)
            return Progress(
                await store.counts(session, album.place),
                await store.is_listing(session, album),
                album.listing_error,
                tuple(failed.items),
            )

    async def require(
        self,
        session: AsyncConnection,
        caller: Caller,
        album_id: str,
        *,
        searchable: bool = False,
        keep: bool = False,
    ) -> Album:
        """An album of the caller.

        With `searchable` it holds vectors of the model that runs. With that or `keep` it stays until the
        transaction ends.

        Raises:
            ResourceNotFoundException: there is none.
            ModelMismatch: of another model.
        """
        if searchable:
            await self._collections.require_searchable(session, caller, album_id, keep=True)
        else:
            await self._collections.require(session, caller, album_id, keep=keep)
        found = await store.find(session, (caller.account_id, album_id))
        if found is None:
            raise ResourceNotFoundException(f"The collection id: {album_id} is no album")
        return found


def _confirm_maker(caller: Caller) -> None:
    """Photographers make albums of their own; a key that makes collections may make albums."""
    if caller.subject is None and caller.role < Role.ADMIN:
        raise AccessDeniedException


def _confirm_own(caller: Caller, source: Prefix) -> None:
    """AccessDeniedException unless an app user's source is theirs: below a folder of their subject's name.

    What the account may read is not for each of its photographers.
    """
    path = source.key if isinstance(source, S3Image) else source.path
    if caller.own_subject is not None and caller.own_subject not in path.split("/")[:-1]:
        raise AccessDeniedException(
            "Your photos lie below a folder that has the subject of your token as its name"
        )


def _code(wanted: str | None) -> str | None:
    if wanted == AUTOMATIC_CODE:
        return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
    if wanted is not None and not _CODE.fullmatch(wanted):
        raise InvalidParameterException(
            "event_code: 6 to 64 letters, digits and _.-, or auto", reason="InvalidField"
        )
    return None if wanted is None else spelt(wanted)


def spelt(event_code: str) -> str:
    """An event code as it is kept: people write it as they like."""
    return event_code.strip().upper()


def _exists(album_id: str) -> ResourceAlreadyExistsException:
    return ResourceAlreadyExistsException(
        f"The collection id: {album_id} already exists", reason="AlbumExists"
    )


def _code_taken() -> ConflictException:
    return ConflictException("Choose another event code", reason="EventCodeTaken")
