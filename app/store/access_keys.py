"""All SQL on access keys; their secrets come and go encrypted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Role
from app.store.tables import access_keys


@dataclass(frozen=True, slots=True)
class StoredKey:
    access_key_id: str
    account_id: str
    secret_encrypted: bytes
    role: Role
    collections: tuple[str, ...]
    created_at: datetime | None = None
    revoked: bool = False


async def add(session: AsyncConnection, key: StoredKey) -> None:
    """Store a new key."""
    await session.execute(
        insert(access_keys).values(
            access_key_id=key.access_key_id,
            account_id=key.account_id,
            secret_encrypted=key.secret_encrypted,
            role=key.role.name.lower(),
            collections=list(key.collections),
        )
    )


async def find(session: AsyncConnection, access_key_id: str) -> StoredKey | None:
    """A key, revoked or not."""
    found = await _read(session, access_key_id)
    return found[0] if found else None


async def every(session: AsyncConnection) -> Sequence[StoredKey]:
    """All keys of all accounts, the oldest first."""
    return await _read(session, None)


async def revoke(session: AsyncConnection, access_key_id: str) -> bool:
    """Take a key's rights away for good; False when there is none, or none any more."""
    done = await session.execute(
        update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(access_keys.c.access_key_id)
    )
    return done.first() is not None


async def _read(session: AsyncConnection, access_key_id: str | None) -> list[StoredKey]:
    query = select(access_keys).order_by(access_keys.c.created_at, access_keys.c.access_key_id)
    if access_key_id is not None:
        query = query.where(access_keys.c.access_key_id == access_key_id)
    return [
        StoredKey(
            row.access_key_id,
            row.account_id,
            bytes(row.secret_encrypted),
            Role[row.role.upper()],
            tuple(row.collections),
            row.created_at,
            row.revoked_at is not None,
        )
        for row in await session.execute(query)
    ]
