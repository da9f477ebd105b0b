"""All SQL on users; a member is a user."""

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import PublicId
from app.store.tables import users

# True for a row that an upsert inserted: only an updated row has an old version.
_IS_NEW: ColumnElement[bool] = literal_column("(xmax = 0)")


async def ensure(session: AsyncSession, account_id: str, collection_id: str, user: PublicId) -> bool:
    """Make sure that a user is there, and lock it until the transaction ends; True when it is new."""
    row = insert(users).values(
        account_id=account_id, collection_id=collection_id, user_id=user.safe, member_id=user.original
    )
    result = await session.execute(
        row.on_conflict_do_update(
            index_elements=["account_id", "collection_id", "user_id"], set_={"member_id": users.c.member_id}
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
