"""All SQL on the photos of albums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Row, Text, Uuid, bindparam, cast, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Page
from app.store import queue
from app.store.queue import Place
from app.store.tables import photos

State: TypeAlias = Literal["pending", "processing", "done", "failed", "skipped"]
KIND = "photo"
"""The kind of a photo's job; its subject is the photo's id."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of an album.

    `place` is a reference to its file, `name` what people call it. `version` was last heard of in its
    storage, `indexed_version` is the one whose faces are in the collection, found as `fingerprint` says.
    """

    photo_id: UUID
    account_id: str
    album_id: str
    place: str
    name: str
    version: str | None
    indexed_version: str | None
    fingerprint: str | None
    state: State
    reason: str | None
    attempts: int
    faces: int
    width: int | None
    height: int | None
    thumbnail: bool
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewPhoto:
    """A photo that was not known: it waits for a worker, unless `skipped` says why it doesn't."""

    photo_id: UUID
    place: str
    name: str
    version: str | None
    skipped: str | None = None


async def known(session: AsyncConnection, photo_ids: Sequence[UUID]) -> dict[UUID, Photo]:
    """Those of some photos that are there, locked until the transaction ends."""
    rows = await session.execute(
        select(photos)
        .where(photos.c.photo_id.in_(photo_ids))
        .order_by(photos.c.photo_id)
        .with_for_update(key_share=True)
    )
    return {row.photo_id: of_row(row) for row in rows}


# Arrays, not rows of parameters: a page of a listing is one short statement.
_ADD = text("""
    INSERT INTO photos
        (photo_id, account_id, album_id, place, name, version, state, reason, finished_at, listed_at)
    SELECT photo_id, :account, :album, place, name, version,
        CASE WHEN skipped IS NULL THEN 'pending' ELSE 'skipped' END, skipped,
        CASE WHEN skipped IS NOT NULL THEN now() END, now()
    FROM unnest(:ids, :places, :names, :versions, :skipped) AS new(photo_id, place, name, version, skipped)
    ON CONFLICT DO NOTHING
    RETURNING photo_id, state
""").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    *(bindparam(name, type_=ARRAY(Text)) for name in ("places", "names", "versions", "skipped")),
)


async def add(session: AsyncConnection, place: Place, new: Sequence[NewPhoto]) -> list[UUID]:
    """Enter photos; returns the ids of those that wait for a worker. One that is there already is left."""
    if not new:
        return []
    rows = await session.execute(
        _ADD,
        {
            "account": place[0],
            "album": place[1],
            "ids": [photo.photo_id for photo in new],
            "places": [photo.place for photo in new],
            "names": [photo.name for photo in new],
            "versions": [photo.version for photo in new],
            "skipped": [photo.skipped for photo in new],
        },
    )
    return [row.photo_id for row in rows if row.state == "pending"]


_AGAIN = text("""
    UPDATE photos SET state = 'pending', attempts = 0, reason = NULL, finished_at = NULL,
        version = new.version, listed_at = now()
    FROM unnest(:ids, :versions) AS new(photo_id, version)
    WHERE photos.photo_id = new.photo_id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("versions", type_=ARRAY(Text)))


async def again(session: AsyncConnection, versions: Mapping[UUID, str | None]) -> None:
    """Let photos wait for a worker once more, each with the version that was heard of."""
    if versions:
        await session.execute(_AGAIN, {"ids": list(versions), "versions": list(versions.values())})


async def seen(session: AsyncConnection, photo_ids: Sequence[UUID]) -> None:
    """Photos that a listing showed and that are as they were."""
    await session.execute(update(photos).where(photos.c.photo_id.in_(photo_ids)).values(listed_at=func.now()))


async def now(session: AsyncConnection) -> datetime:
    """The database's time: listings compare with what it wrote."""
    found: datetime = (await session.execute(select(func.now()))).scalar_one()
    return found


async def unlisted(
    session: AsyncConnection, place: Place, source: str, since: datetime, limit: int
) -> list[Photo]:
    """Photos below a source that no listing has shown since a time, and that were not found gone already."""
    rows = await session.execute(
        select(photos)
        .where(
            photos.c.account_id == place[0],
            photos.c.album_id == place[1],
            photos.c.listed_at < bindparam("since", since, DateTime(timezone=True)),
            func.starts_with(photos.c.place, source),
            photos.c.state.in_(("done", "failed")),
        )
        .order_by(photos.c.photo_id)
        .limit(limit)
        .with_for_update(key_share=True)
    )
    return [of_row(row) for row in rows]


async def get(session: AsyncConnection, photo_id: UUID) -> Photo | None:
    """A photo by its id alone: for jobs and signed links, which no client can make up."""
    row = (await session.execute(select(photos).where(photos.c.photo_id == photo_id))).first()
    return None if row is None else of_row(row)


async def lock(session: AsyncConnection, photo_id: UUID) -> None:
    """Let nobody else change a photo until the transaction ends.

    Whoever changes a photo and its job locks the photo first, or two of them would wait for each other.
    """
    await session.execute(
        select(photos.c.photo_id).where(photos.c.photo_id == photo_id).with_for_update(key_share=True)
    )


async def lock_files(session: AsyncConnection, photo_id: UUID) -> None:
    """Let nobody else keep or erase the files of a photo, known or not, until the transaction ends."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"files of {photo_id}"}
    )


async def find(session: AsyncConnection, place: Place, photo_id: UUID) -> Photo | None:
    """A photo of an album, or None."""
    query = _shown(place).where(photos.c.photo_id == photo_id)
    row = (await session.execute(query)).first()
    return None if row is None else of_row(row)


async def page(
    session: AsyncConnection, place: Place, *, state: State | None, after: UUID | None, limit: int
) -> Page[Photo]:
    """Photos of an album in the order of their ids, optionally of one state."""
    query = _shown(place)
    in_hand = _in_hand()
    if state in ("pending", "processing"):
        query = query.where(photos.c.state == "pending", in_hand if state == "processing" else ~in_hand)
    elif state is not None:
        query = query.where(photos.c.state == state)
    if after is not None:
        query = query.where(photos.c.photo_id > after)
    rows = (await session.execute(query.order_by(photos.c.photo_id).limit(limit + 1))).all()
    items = [of_row(row) for row in rows[:limit]]
    return Page(items, str(items[-1].photo_id) if len(rows) > limit and items else None)


async def failed(session: AsyncConnection, place: Place, limit: int) -> list[Photo]:
    """Failed photos of an album, locked until the transaction ends."""
    rows = await session.execute(
        select(photos)
        .where(photos.c.account_id == place[0], photos.c.album_id == place[1], photos.c.state == "failed")
        .order_by(photos.c.photo_id)
        .limit(limit)
        .with_for_update(key_share=True)
    )
    return [of_row(row) for row in rows]


async def finish(session: AsyncConnection, photo_id: UUID, state: State, values: Mapping[str, Any]) -> None:
    """The end of a photo's work, and columns that it changes."""
    await session.execute(
        update(photos)
        .where(photos.c.photo_id == photo_id)
        .values(state=state, finished_at=func.now(), **values)
    )


async def note(session: AsyncConnection, photo_id: UUID, attempts: int, reason: str) -> None:
    """What went wrong with a photo that will be tried again."""
    await session.execute(
        update(photos).where(photos.c.photo_id == photo_id).values(attempts=attempts, reason=reason)
    )


async def remove(session: AsyncConnection, place: Place, photo_id: UUID) -> bool:
    """Delete a photo's row; False when the album has none of this id."""
    gone = await session.execute(
        photos.delete()
        .where(photos.c.account_id == place[0], photos.c.album_id == place[1], photos.c.photo_id == photo_id)
        .returning(photos.c.photo_id)
    )
    return gone.first() is not None


def _in_hand() -> Any:
    return queue.worked_on(KIND, cast(photos.c.photo_id, Text))


def _shown(place: Place) -> Any:
    """Photos as clients see them: one that somebody works on is processing, not pending."""
    return select(photos, _in_hand().label("in_hand")).where(
        photos.c.account_id == place[0], photos.c.album_id == place[1]
    )


def of_row(row: Row[Any]) -> Photo:
    """A photo from a row that has all columns of the table."""
    processing = row.state == "pending" and getattr(row, "in_hand", False)
    return Photo(
        row.photo_id,
        row.account_id,
        row.album_id,
        row.place,
        row.name,
        row.version,
        row.indexed_version,
        row.fingerprint,
        "processing" if processing else row.state,
        row.reason,
        row.attempts,
        row.faces,
        row.width,
        row.height,
        row.thumbnail,
        row.created_at,
        row.finished_at,
    )
