"""Secrets that the service makes itself: every replica and every restart has the same ones."""

import secrets

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import service_secrets as table

_BYTES = 32


async def obtain(session: AsyncConnection, name: str) -> bytes:
    """The secret of this name, made at its first use."""
    await session.execute(
        insert(table).values(name=name, value=secrets.token_bytes(_BYTES)).on_conflict_do_nothing()
    )
    value: bytes = (await session.execute(select(table.c.value).where(table.c.name == name))).scalar_one()
    return value
