"""All SQL on users; a member is a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Member, Page, PublicId, User, Vector
from app.errors import ConflictException, ResourceNotFoundException
from app.store.database import Database
from app.store.nearest import nearest as nearest_rows
from app.store.tables import faces, users
from app.store.vector_memory import VectorMemory
from app.store.vectors import cosine_of

# True for a row that an upsert inserted: only an updated row has an old version.
_IS_NEW: ColumnElement[bool] = literal_column("(xmax = 0)")


@dataclass(frozen=True, slots=True)
class UserMatch:
    """A user who resembles a probe."""

    user_id: str
    member_id: str
    metadata: Mapping[str, Any]
    cosine: float


async def create(session: AsyncConnection, account_id: str, collection_id: str, user: PublicId) -> bool:
    """Create a user; False when there is one of this id."""
    created = await session.execute(
        insert(users)
        .values(
            account_id=account_id, collection_id=collection_id, user_id=user.safe, member_id=user.original
        )
        .on_conflict_do_nothing()
        .returning(users.c.user_id)
    )
    return created.first() is not None


async def ensure(session: AsyncConnection, account_id: str, collection_id: str, user: PublicId) -> bool:
    """Make sure that a user is there, and lock it until the transaction ends; True when it is new."""
    row = insert(users).values(
        account_id=account_id, collection_id=collection_id, user_id=user.safe, member_id=user.original
    )
    result = await session.execute(
        row.on_conflict_do_update(
            index_elements=["account_id", "collection_id", "user_id"], set_={"member_id": user.original}
        ).returning(_IS_NEW)
    )
    return bool(result.scalar_one())


async def require(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str, *, lock: bool = False
) -> User:
    """A user; with `lock` nobody else changes them until the transaction ends.

    Raises:
        ResourceNotFoundException: the collection has none of this id.
    """
    query = select(users.c.user_id, users.c.embedding.is_not(None).label("active")).where(
        _is(account_id, collection_id, user_id)
    )
    row = (await session.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        raise not_found(user_id)
    return User(row.user_id, row.active)


def not_found(user_id: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The user id: {user_id} does not exist")


async def exists(reader: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> bool:
    """Whether a collection has a user."""
    found = await reader.scalar(select(users.c.user_id).where(_is(account_id, collection_id, user_id)))
    return found is not None


async def page(
    session: AsyncConnection, account_id: str, collection_id: str, after: str | None, limit: int
) -> Page[User]:
    """Users of a collection in the order of their ids."""
    query = select(users.c.user_id, users.c.embedding.is_not(None).label("active")).where(
        users.c.account_id == account_id, users.c.collection_id == collection_id
    )
    if after is not None:
        query = query.where(users.c.user_id > after)
    rows = (await session.execute(query.order_by(users.c.user_id).limit(limit + 1))).all()
    items = [User(row.user_id, row.active) for row in rows[:limit]]
    return Page(items, items[-1].user_id if len(rows) > limit and items else None)


def _members(account_id: str, collection_id: str) -> Select[Any]:
    count = (
        select(func.count())
        .select_from(faces)
        .where(
            faces.c.account_id == users.c.account_id,
            faces.c.collection_id == users.c.collection_id,
            faces.c.user_id == users.c.user_id,
        )
        .scalar_subquery()
    )
    return select(
        users.c.member_id, users.c.user_id, users.c.metadata, users.c.created_at, count.label("faces")
    ).where(users.c.account_id == account_id, users.c.collection_id == collection_id)


def _member(row: Row[Any]) -> Member:
    return Member(row.member_id, row.user_id, row.metadata, row.faces, row.created_at)


async def member(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str
) -> Member | None:
    """A user as a member, or None."""
    row = (
        await session.execute(_members(account_id, collection_id).where(users.c.user_id == user_id))
    ).first()
    return _member(row) if row else None


async def members(
    session: AsyncConnection, account_id: str, collection_id: str, after: str | None, limit: int
) -> Page[Member]:
    """Users as members, in the order of their user ids."""
    query = _members(account_id, collection_id)
    if after is not None:
        query = query.where(users.c.user_id > after)
    rows = (await session.execute(query.order_by(users.c.user_id).limit(limit + 1))).all()
    items = [_member(row) for row in rows[:limit]]
    return Page(items, items[-1].user_id if len(rows) > limit and items else None)


async def metadata_of(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str
) -> dict[str, Any] | None:
    """A user's metadata, locked until the transaction ends; None when there is no such user."""
    found = await session.scalar(
        select(users.c.metadata).where(_is(account_id, collection_id, user_id)).with_for_update()
    )
    return None if found is None else dict(found)


async def set_metadata(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str, metadata: Mapping[str, Any]
) -> None:
    """Replace a user's metadata."""
    await session.execute(
        update(users).where(_is(account_id, collection_id, user_id)).values(metadata=dict(metadata))
    )


async def bind(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str, subject: str | None
) -> None:
    """Say which app user a user is.

    Raises:
        ConflictException: the app user is another user of this collection.
    """
    try:
        async with session.begin_nested():
            await session.execute(
                update(users).where(_is(account_id, collection_id, user_id)).values(subject=subject)
            )
    except IntegrityError:
        raise ConflictException("The subject is bound to another member", reason="SubjectBound") from None


async def subject_of(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str
) -> str | None:
    """The app user that a user is; None for nobody, and for a user who is not there."""
    found: str | None = await session.scalar(
        select(users.c.subject).where(_is(account_id, collection_id, user_id))
    )
    return found


async def count_with_faces(reader: AsyncConnection, account_id: str, collection_id: str) -> int:
    """How many users of a collection can be found."""
    return (
        await reader.scalar(
            select(func.count())
            .select_from(users)
            .where(
                users.c.account_id == account_id,
                users.c.collection_id == collection_id,
                users.c.embedding.is_not(None),
            )
        )
        or 0
    )


async def remove(session: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> bool:
    """Delete a user, whose faces stay in the collection; False when there was none."""
    removed = await session.execute(
        delete(users).where(_is(account_id, collection_id, user_id)).returning(users.c.user_id)
    )
    return removed.first() is not None


async def refresh_vector(session: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> bool:
    """Make a user's vector anew from their faces, after those have changed; False without a face."""
    mean = (
        select(func.l2_normalize(func.avg(faces.c.embedding)))
        .where(
            faces.c.account_id == account_id,
            faces.c.collection_id == collection_id,
            faces.c.user_id == user_id,
        )
        .scalar_subquery()
    )
    active = await session.scalar(
        update(users)
        .where(_is(account_id, collection_id, user_id))
        .values(embedding=mean)
        .returning(users.c.embedding.is_not(None))
    )
    return bool(active)


async def vector_of(
    reader: AsyncConnection, account_id: str, collection_id: str, user_id: str
) -> Vector | None:
    """A user's vector, or None when they have no face."""
    found = await reader.scalar(select(users.c.embedding).where(_is(account_id, collection_id, user_id)))
    return None if found is None else np.asarray(found, dtype=np.float32)


async def nearest(
    database: Database,
    account_id: str,
    collection_id: str,
    probe: Vector,
    *,
    model: str,
    min_cosine: float,
    limit: int,
    leave_out: str | None = None,
    memory: VectorMemory | None = None,
) -> list[UserMatch]:
    """The users most like a probe of this FaceModelVersion, best first."""
    found = await nearest_rows(
        database,
        users,
        users.c.user_id,
        (users.c.user_id, users.c.member_id, users.c.metadata),
        (account_id, collection_id),
        probe,
        model=model,
        min_cosine=min_cosine,
        limit=limit,
        leave_out=leave_out,
        memory=memory,
    )
    return [UserMatch(row.user_id, row.member_id, row.metadata, cosine_of(row.distance)) for row in found]


def _is(account_id: str, collection_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(
        users.c.account_id == account_id,
        users.c.collection_id == collection_id,
        users.c.user_id == user_id,
    )
