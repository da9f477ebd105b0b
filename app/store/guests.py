"""All SQL on guests: users of an album's collection whose photos are kept ready."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, case, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Page
from app.store.queue import Place
from app.store.tables import photo_matches, users

_NAME = "name"


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as their owner wrote the id, and the user of the collection that they are."""

    guest_id: str
    user_id: str
    name: str | None
    photos: int
    created_at: datetime


async def mark(session: AsyncConnection, place: Place, user_id: str, name: str | None) -> None:
    """Make a user a guest; a name is kept in the user's metadata."""
    named = func.cast(func.jsonb_build_object(_NAME, name), JSONB)
    await session.execute(
        update(users)
        .where(_is(place, user_id))
        .values(
            guest=True,
            metadata=users.c.metadata if name is None else users.c.metadata.op("||")(named),
        )
    )


async def find(session: AsyncConnection, place: Place, user_id: str) -> Guest | None:
    """A guest, or None."""
    row = (await session.execute(_guests(place).where(users.c.user_id == user_id))).first()
    return None if row is None else _guest(row)


async def page(session: AsyncConnection, place: Place, after: str | None, limit: int) -> Page[Guest]:
    """Guests in the order of their user ids."""
    query = _guests(place)
    if after is not None:
        query = query.where(users.c.user_id > after)
    rows = (await session.execute(query.order_by(users.c.user_id).limit(limit + 1))).all()
    items = [_guest(row) for row in rows[:limit]]
    return Page(items, items[-1].user_id if len(rows) > limit and items else None)


def _is(place: Place, user_id: str) -> Any:
    return and_(users.c.account_id == place[0], users.c.collection_id == place[1], users.c.user_id == user_id)


def _guests(place: Place) -> Select[Any]:
    count = (
        select(func.count())
        .select_from(photo_matches)
        .where(
            photo_matches.c.account_id == users.c.account_id,
            photo_matches.c.album_id == users.c.collection_id,
            photo_matches.c.user_id == users.c.user_id,
        )
        .scalar_subquery()
    )
    name = users.c.metadata[_NAME]
    return select(
        users.c.member_id,
        users.c.user_id,
        case((func.jsonb_typeof(name) == "string", name.astext)).label("name"),
        count.label("photos"),
        users.c.created_at,
    ).where(users.c.account_id == place[0], users.c.collection_id == place[1], users.c.guest)


def _guest(row: Row[Any]) -> Guest:
    return Guest(row.member_id, row.user_id, row.name, row.photos, row.created_at)
