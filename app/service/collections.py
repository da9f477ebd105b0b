"""Rules of collections."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Caller, Collection, CollectionCounts, Page
from app.errors import (
    AccessDeniedException,
    ModelMismatch,
    ResourceAlreadyExistsException,
    ServiceQuotaExceededException,
)
from app.service import vector_indexes
from app.store import albums as album_store
from app.store import collections as store
from app.store import queue
from app.store.database import Database
from app.store.queue import UPKEEP, Place

MAX_TAGS = 200
# For so long an answer counts before an image is worked on, which may itself wait longer for its turn: under
# load each search would ask the same.
_RECENT_S = 0.25
# And for so long while somebody asks anew: else all would who come before the answer does.
_STILL_S = 2 * _RECENT_S
_MOST_RECENT = 1000


@dataclass(frozen=True, slots=True)
class Description:
    collection: Collection
    counts: CollectionCounts


class Collections:
    """Collections of an account; each is pinned to the face model that it was created with."""

    def __init__(self, database: Database, face_model_version: str) -> None:
        self._database = database
        self.face_model_version = face_model_version
        # When it was asked last whether somebody may search a collection, and they might.
        self._confirmed: dict[tuple[Caller, str], float] = {}
        self._asking: set[tuple[Caller, str]] = set()

    async def create(self, caller: Caller, collection_id: str, tags: Mapping[str, str] | None = None) -> None:
        """Create a collection; ResourceAlreadyExistsException when it is there."""
        async with self._database.session() as session:
            if not caller.sees(collection_id):
                raise AccessDeniedException
            if not await store.create(
                session, caller.account_id, collection_id, self.face_model_version, tags
            ):
                raise ResourceAlreadyExistsException(f"The collection id: {collection_id} already exists")

    def confirm_visible(self, caller: Caller, collection_id: str) -> None:
        """ResourceNotFoundException for a collection that the caller's key leaves out."""
        if not caller.sees(collection_id):
            raise store.not_found(collection_id)

    async def describe(self, caller: Caller, collection_id: str) -> Description:
        """A collection and its counts; ResourceNotFoundException when there is none."""
        async with self._database.reading() as reader:
            found = await self.require(reader, caller, collection_id)
            return Description(found, await store.counts(reader, caller.account_id, collection_id))

    async def page(self, caller: Caller, after: str | None, limit: int) -> Page[Collection]:
        """Collections in the order of their ids."""
        async with self._database.reading() as reader:
            return await store.page(
                reader, caller.account_id, caller.collections, after, limit, caller.own_subject
            )

    async def delete(self, caller: Caller, collection_id: str) -> None:
        """Erase a collection with its faces and users, and an album's photos and files.

        Raises:
            ResourceNotFoundException: there is none.
        """
        async with self._database.session(long=True) as session:
            await self.require(session, caller, collection_id)
            await remove(session, (caller.account_id, collection_id))
        self._confirmed.clear()

    async def tags(self, caller: Caller, collection_id: str) -> dict[str, str]:
        """A collection's tags."""
        async with self._database.reading() as reader:
            await self.require(reader, caller, collection_id)
            return await store.tags_of(reader, caller.account_id, collection_id)

    async def tag(self, caller: Caller, collection_id: str, tags: Mapping[str, str]) -> None:
        """Add tags, or replace those of the same key; ServiceQuotaExceededException beyond 200."""
        async with self._database.session() as session:
            await self.require(session, caller, collection_id)
            kept = await store.tags_of(session, caller.account_id, collection_id, lock=True) | dict(tags)
            if len(kept) > MAX_TAGS:
                raise ServiceQuotaExceededException(f"A collection has at most {MAX_TAGS} tags")
            await store.set_tags(session, caller.account_id, collection_id, kept)

    async def untag(self, caller: Caller, collection_id: str, keys: Sequence[str]) -> None:
        """Remove tags; keys that are not there are passed over."""
        async with self._database.session() as session:
            await self.require(session, caller, collection_id)
            tags = await store.tags_of(session, caller.account_id, collection_id, lock=True)
            kept = {key: value for key, value in tags.items() if key not in keys}
            await store.set_tags(session, caller.account_id, collection_id, kept)

    async def require(
        self, reader: AsyncConnection, caller: Caller, collection_id: str, *, keep: bool = False
    ) -> Collection:
        """A collection of the caller; ResourceNotFoundException when there is none.

        With `keep` it can't be deleted, nor its vectors be switched, until the transaction ends.
        """
        self.confirm_visible(caller, collection_id)
        found = await store.require(reader, caller.account_id, collection_id, keep=keep)
        if not caller.may_see_of(found.owner):
            raise store.not_found(collection_id)
        return found

    async def require_searchable(
        self, reader: AsyncConnection, caller: Caller, collection_id: str, *, keep: bool = False
    ) -> None:
        """Raise unless the collection exists and holds vectors of the model that runs.

        With `keep` it can't be deleted until the transaction ends.
        """
        found = await self.require(reader, caller, collection_id, keep=keep)
        if found.face_model_version != self.face_model_version:
            raise ModelMismatch(
                collection_id, pinned=found.face_model_version, running=self.face_model_version
            )

    async def confirm_searchable(
        self, caller: Caller, collection_id: str, *, since: float | None = None
    ) -> None:
        """The same at once, before an image costs anything.

        Args:
            since: a moment of `time.monotonic` after which the database must have been asked. Who found
                nothing needs it, for the collection may be gone; else a moment ago is enough.
        """
        key, now = (caller, collection_id), time.monotonic()
        oldest = now - (_STILL_S if key in self._asking else _RECENT_S) if since is None else since
        if self._confirmed.get(key, -math.inf) >= oldest:
            return
        self._asking.add(key)
        try:
            async with self._database.reading() as reader:
                await self.require_searchable(reader, caller, collection_id)
        except BaseException:
            self._confirmed.pop(key, None)
            raise
        finally:
            self._asking.discard(key)
        if len(self._confirmed) >= _MOST_RECENT:
            self._confirmed.clear()
        self._confirmed[key] = now


async def remove(session: AsyncConnection, place: Place) -> None:
    """Erase a collection; a worker erases the files of an album, and the indexes of its vectors."""
    album = await album_store.find(session, place)
    await store.remove(session, *place)
    await vector_indexes.forget(session, place)
    if album is not None:
        await queue.put(session, UPKEEP, "erase", [album.storage_prefix])
