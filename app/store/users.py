"""All SQL on users; a member is a user."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import PublicId
from app.store.tables import users

# True for a row that an upsert inserted: only an updated row has an old version.
_IS_NEW: ColumnElement[bool] = literal_column("(xmax = 0)")


async def ensure(
    session: AsyncSession,
    account_id: str,
    collection_id: str,
    user: PublicId,
    metadata: Mapping[str, Any] | None,
) -> bool:
    """Make sure that a user is there, and lock it until the transaction ends.

    Metadata, when given, replaces what was kept. Returns True when the user is new.
    """
    row = insert(users).values(
        account_id=account_id,
        collection_id=collection_id,
        user_id=user.safe,
        member_id=user.original,
        metadata=metadata or {},
    )
    kept = row.excluded.metadata if metadata is not None else users.c.metadata
    result = await session.execute(
        row.on_conflict_do_update(
            index_elements=["account_id", "collection_id", "user_id"], set_={"metadata": kept}
        ).returning(_IS_NEW)
    )
    return bool(result.scalar_one())


async def exists(session: AsyncSession, account_id: str, collection_id: str, user_id: str) -> bool:
    """Whether a collection has a user."""
    found = await session.scalar(
        select(users.c.user_id).where(
            users.c.account_id == account_id,
            users.c.collection_id == collection_id,
            users.c.user_id == user_id,
        )
    )
    return found is not None


async def member_ids(
    session: AsyncSession, account_id: str, collection_id: str, user_ids: Sequence[str]
) -> dict[str, str]:
    """The ids that members' owners wrote, by user id."""
    rows = await session.execute(
        select(users.c.user_id, users.c.member_id).where(
            users.c.account_id == account_id,
            users.c.collection_id == collection_id,
            users.c.user_id.in_(user_ids),
        )
    )
    return {row.user_id: row.member_id for row in rows}
