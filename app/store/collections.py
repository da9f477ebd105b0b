"""All SQL on collections."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Collection, CollectionCounts, Page
from app.errors import ResourceNotFoundException
from app.store.tables import collections, faces, users

# Every request asks this first: built once, it costs half.
_FIND = select(collections).where(
    collections.c.account_id == bindparam("account"), collections.c.collection_id == bindparam("collection")
)
_FIND_AND_KEEP = _FIND.with_for_update(read=True, key_share=True)


async def create(
    session: AsyncConnection,
    account_id: str,
    collection_id: str,
    model: str,
    tags: Mapping[str, str] | None = None,
    owner: str | None = None,
) -> bool:
    """Create a collection pinned to a face model; False when it is there already."""
    created = await session.execute(
        insert(collections)
        .values(
            account_id=account_id,
            collection_id=collection_id,
            face_model_version=model,
            tags=dict(tags or {}),
            owner=owner,
        )
        .on_conflict_do_nothing()
        .returning(collections.c.collection_id)
    )
    return created.first() is not None


async def find(
    reader: AsyncConnection, account_id: str, collection_id: str, *, keep: bool = False
) -> Collection | None:
    """A collection, or None. With `keep` it can't be deleted until the transaction ends."""
    values = {"account": account_id, "collection": collection_id}
    row = (await reader.execute(_FIND_AND_KEEP if keep else _FIND, values)).first()
    return _collection(row) if row else None


async def lock(session: AsyncConnection, account_id: str, collection_id: str) -> str | None:
    """Let nobody else store in a collection, change or delete it until the transaction ends.

    Returns:
        Its FaceModelVersion; None when there is no such collection.
    """
    model: str | None = await session.scalar(
        select(collections.c.face_model_version)
        .where(collections.c.account_id == account_id, collections.c.collection_id == collection_id)
        .with_for_update()
    )
    return model


async def require(
    reader: AsyncConnection, account_id: str, collection_id: str, *, keep: bool = False
) -> Collection:
    """A collection, kept from deletion until the transaction ends if `keep` says so.

    Raises:
        ResourceNotFoundException: the account has none of this id.
    """
    found = await find(reader, account_id, collection_id, keep=keep)
    if found is None:
        raise not_found(collection_id)
    return found


def not_found(collection_id: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The collection id: {collection_id} does not exist")


async def page(
    session: AsyncConnection,
    account_id: str,
    patterns: Sequence[str],
    after: str | None,
    limit: int,
    viewer: str | None = None,
) -> Page[Collection]:
    """Collections of an account that one of the patterns matches, in the order of their ids.

    With a `viewer`, without the albums of other app users.
    """
    query = select(collections).where(
        collections.c.account_id == account_id,
        or_(*(collections.c.collection_id.like(as_like(pattern)) for pattern in patterns)),
    )
    if viewer is not None:
        query = query.where(or_(collections.c.owner.is_(None), collections.c.owner == viewer))
    if after is not None:
        query = query.where(collections.c.collection_id > after)
    rows = (await session.execute(query.order_by(collections.c.collection_id).limit(limit + 1))).all()
    items = [_collection(row) for row in rows[:limit]]
    return Page(items, items[-1].collection_id if len(rows) > limit and items else None)


def _collection(row: Row[Any]) -> Collection:
    return Collection(row.collection_id, row.face_model_version, row.created_at, row.owner)


def as_like(pattern: str) -> str:
    """A pattern of collection ids as LIKE writes it."""
    return pattern.replace("_", r"\_").replace("*", "%")


async def counts(session: AsyncConnection, account_id: str, collection_id: str) -> CollectionCounts:
    """How many faces and users a collection holds."""
    totals: Sequence[int] = [
        await session.scalar(
            select(func.count())
            .select_from(table)
            .where(table.c.account_id == account_id, table.c.collection_id == collection_id)
        )
        or 0
        for table in (faces, users)
    ]
    return CollectionCounts(faces=totals[0], users=totals[1])


async def totals(
    session: AsyncConnection, account_id: str, patterns: Sequence[str], viewer: str | None = None
) -> tuple[int, int, int]:
    """How many collections that one of the patterns matches an account has, with their users and faces.

    With a `viewer`, without the albums of other app users.
    """
    hidden = select(collections.c.collection_id).where(
        collections.c.account_id == account_id, collections.c.owner != viewer
    )
    found = []
    for table in (collections, users, faces):
        query = (
            select(func.count())
            .select_from(table)
            .where(
                table.c.account_id == account_id,
                or_(*(table.c.collection_id.like(as_like(pattern)) for pattern in patterns)),
            )
        )
        if viewer is not None:
            query = query.where(table.c.collection_id.not_in(hidden))
        found.append(await session.scalar(query) or 0)
    return found[0], found[1], found[2]


async def remove(session: AsyncConnection, account_id: str, collection_id: str) -> bool:
    """Delete a collection with its users and faces; False when there was none."""
    removed = await session.execute(
        delete(collections)
        .where(collections.c.account_id == account_id, collections.c.collection_id == collection_id)
        .returning(collections.c.collection_id)
    )
    return removed.first() is not None


async def tags_of(
    session: AsyncConnection, account_id: str, collection_id: str, *, lock: bool = False
) -> dict[str, str]:
    """A collection's tags; with `lock` nobody else changes them until the transaction ends.

    Raises:
        ResourceNotFoundException: the account has no such collection.
    """
    query = select(collections.c.tags).where(
        collections.c.account_id == account_id, collections.c.collection_id == collection_id
    )
    if lock:  # FOR NO KEY UPDATE: faces may still be stored meanwhile
        query = query.with_for_update(key_share=True)
    row = (await session.execute(query)).first()
    if row is None:
        raise not_found(collection_id)
    return dict(row.tags)


async def set_tags(
    session: AsyncConnection, account_id: str, collection_id: str, tags: Mapping[str, str]
) -> None:
    """Replace a collection's tags."""
    await session.execute(
        update(collections)
        .where(collections.c.account_id == account_id, collections.c.collection_id == collection_id)
        .values(tags=dict(tags))
    )
