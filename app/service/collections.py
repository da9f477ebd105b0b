"""Rules of collections."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import Caller, Collection, CollectionCounts, Page
from app.errors import ModelMismatch, ResourceAlreadyExistsException
from app.store import collections as store
from app.store.database import Database


@dataclass(frozen=True, slots=True)
class Description:
    collection: Collection
    counts: CollectionCounts


class Collections:
    """Collections of an account; each is pinned to the face model that it was created with."""

    def __init__(self, database: Database, face_model_version: str) -> None:
        self._database = database
        self.face_model_version = face_model_version

    async def create(self, caller: Caller, collection_id: str, tags: Mapping[str, str] | None = None) -> None:
        """Create a collection; ResourceAlreadyExistsException when it is there."""
        async with self._database.session() as session:
            if not await store.create(
                session, caller.account_id, collection_id, self.face_model_version, tags
            ):
                raise ResourceAlreadyExistsException(f"The collection id: {collection_id} already exists")

    async def ensure(self, caller: Caller, collection_id: str) -> None:
        """Create a collection unless it is there."""
        async with self._database.session() as session:
            await store.create(session, caller.account_id, collection_id, self.face_model_version)

    async def describe(self, caller: Caller, collection_id: str) -> Description:
        """A collection and its counts; ResourceNotFoundException when there is none."""
        async with self._database.session() as session:
            found = await self.require(session, caller, collection_id)
            return Description(found, await store.counts(session, caller.account_id, collection_id))

    async def page(self, caller: Caller, after: str | None, limit: int) -> Page[Collection]:
        """Collections in the order of their ids."""
        async with self._database.session() as session:
            return await store.page(session, caller.account_id, after, limit)

    async def delete(self, caller: Caller, collection_id: str) -> None:
        """Erase a collection with its faces and users; ResourceNotFoundException when there is none."""
        async with self._database.session() as session:
            if not await store.remove(session, caller.account_id, collection_id):
                raise store.not_found(collection_id)

    async def require(self, session: AsyncSession, caller: Caller, collection_id: str) -> Collection:
        """A collection of the caller; ResourceNotFoundException when there is none."""
        return await store.require(session, caller.account_id, collection_id)

    async def require_searchable(
        self, session: AsyncSession, caller: Caller, collection_id: str, *, keep: bool = False
    ) -> None:
        """Raise unless the collection exists and holds vectors of the model that runs.

        With `keep` it can't be deleted until the transaction ends.
        """
        found = await store.require(session, caller.account_id, collection_id, keep=keep)
        if found.face_model_version != self.face_model_version:
            raise ModelMismatch(
                collection_id, pinned=found.face_model_version, running=self.face_model_version
            )

    async def confirm_searchable(self, caller: Caller, collection_id: str) -> None:
        """The same in a short session of its own, before an image costs anything."""
        async with self._database.session() as session:
            await self.require_searchable(session, caller, collection_id)
