"""All SQL on albums: what they are, and how many photos of which state they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, Select, and_, func, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Page
from app.store import queue
from app.store.collections import as_like
from app.store.queue import Place
from app.store.tables import album_counts, albums, collections, photos

RATE_WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Album:
    """A collection with photos. `threshold` is a Similarity, 1..100; `source` a reference, if it has one."""

    account_id: str
    album_id: str
    album_key: UUID
    title: str | None
    source: str | None
    threshold: float
    retention_days: int | None
    event_code: str | None
    recompress: bool
    listing_error: str | None
    created_at: datetime
    owner: str | None
    face_model_version: str

    @property
    def place(self) -> Place:
        return self.account_id, self.album_id

    @property
    def storage_prefix(self) -> str:
        """Where the files that the service keeps for the album lie in its storage."""
        return f"{self.account_id}/{self.album_key}/"

    def photo_id(self, place: str) -> UUID:
        """The id of the photo that lies at a place; the same in every process."""
        return uuid5(self.album_key, place)


@dataclass(frozen=True, slots=True)
class Counts:
    """Photos by state; those in hand are processing, not pending. `rate` is in photos a second."""

    pending: int
    processing: int
    done: int
    failed: int
    skipped: int
    faces: int
    rate: float

    @property
    def total(self) -> int:
        return self.pending + self.processing + self.done + self.failed + self.skipped


async def create(
    session: AsyncConnection,
    place: Place,
    album_key: UUID,
    *,
    title: str | None,
    source: str | None,
    threshold: float,
    retention_days: int | None,
    event_code: str | None,
    recompress: bool,
) -> bool:
    """Make an album of a collection; False when the event code is another album's."""
    try:
        async with session.begin_nested():
            await session.execute(
                insert(albums).values(
                    account_id=place[0],
                    album_id=place[1],
                    album_key=album_key,
                    title=title,
                    source=source,
                    threshold=threshold,
                    retention_days=retention_days,
                    event_code=event_code,
                    recompress=recompress,
                )
            )
    except IntegrityError:
        return False
    return True


async def change(session: AsyncConnection, place: Place, values: dict[str, Any]) -> bool:
    """Change columns of an album; False when the event code is another album's."""
    try:
        async with session.begin_nested():
            await session.execute(
                update(albums)
                .where(albums.c.account_id == place[0], albums.c.album_id == place[1])
                .values(**values)
            )
    except IntegrityError:
        return False
    return True


async def find(session: AsyncConnection, place: Place) -> Album | None:
    """An album of an account, or None."""
    row = (
        await session.execute(_albums().where(albums.c.account_id == place[0], albums.c.album_id == place[1]))
    ).first()
    return None if row is None else _album(row)


async def threshold_of(session: AsyncConnection, place: Place) -> float:
    """An album's threshold as it is now, which may have changed while somebody waited in `keep_apart`."""
    found = await session.execute(
        select(albums.c.threshold).where(albums.c.account_id == place[0], albums.c.album_id == place[1])
    )
    return float(found.scalar_one())


async def by_key(session: AsyncConnection, album_key: UUID) -> Album | None:
    row = (await session.execute(_albums().where(albums.c.album_key == album_key))).first()
    return None if row is None else _album(row)


async def by_code(session: AsyncConnection, event_code: str) -> Album | None:
    """The album of an event code, of any account."""
    row = (await session.execute(_albums().where(albums.c.event_code == event_code))).first()
    return None if row is None else _album(row)


async def with_source_of(session: AsyncConnection, place: str) -> list[Album]:
    """Albums of all accounts whose source is the beginning of a photo's place."""
    rows = await session.execute(
        _albums()
        .where(albums.c.source.is_not(None), func.starts_with(place, albums.c.source))
        .order_by(albums.c.account_id, albums.c.album_id)
    )
    return [_album(row) for row in rows]


async def expired(session: AsyncConnection, limit: int) -> list[Album]:
    """Albums whose retention has passed."""
    end = albums.c.created_at + func.make_interval(0, 0, 0, albums.c.retention_days)
    rows = await session.execute(
        _albums().where(albums.c.retention_days.is_not(None), end < func.now()).limit(limit)
    )
    return [_album(row) for row in rows]


async def page(
    session: AsyncConnection,
    account_id: str,
    patterns: Sequence[str],
    owner: str | None,
    after: str | None,
    limit: int,
) -> Page[Album]:
    """Albums of an account that a pattern matches, of one owner if that is given, by their ids."""
    query = _albums().where(
        albums.c.account_id == account_id,
        or_(*(albums.c.album_id.like(as_like(pattern)) for pattern in patterns)),
    )
    if owner is not None:
        query = query.where(collections.c.owner == owner)
    if after is not None:
        query = query.where(albums.c.album_id > after)
    rows = (await session.execute(query.order_by(albums.c.album_id).limit(limit + 1))).all()
    items = [_album(row) for row in rows[:limit]]
    return Page(items, items[-1].album_id if len(rows) > limit and items else None)


async def counts(session: AsyncConnection, place: Place) -> Counts:
    """How far an album is. The rate is that of the last minute."""
    summed = (
        await session.execute(
            select(
                *(
                    func.coalesce(func.sum(album_counts.c[name]), 0).label(name)
                    for name in ("pending", "done", "failed", "skipped", "faces")
                )
            ).where(album_counts.c.account_id == place[0], album_counts.c.album_id == place[1])
        )
    ).one()
    recent = (
        await session.execute(
            select(
                func.count(),
                func.extract("epoch", func.now() - func.min(photos.c.finished_at)),
            ).where(
                photos.c.account_id == place[0],
                photos.c.album_id == place[1],
                photos.c.finished_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, RATE_WINDOW_S),
            )
        )
    ).one()
    in_hand = await queue.in_hand(session, place, "photo")
    finished, over_s = recent
    return Counts(
        pending=max(0, int(summed.pending) - in_hand),
        processing=min(in_hand, int(summed.pending)),
        done=int(summed.done),
        failed=int(summed.failed),
        skipped=int(summed.skipped),
        faces=int(summed.faces),
        rate=finished / max(float(over_s), 1.0) if finished else 0.0,
    )


async def is_listing(session: AsyncConnection, album: Album) -> bool:
    """Whether the album's source is being listed, or waits for it."""
    return await queue.is_queued(session, "listing", str(album.album_key))


async def keep_apart(session: AsyncConnection, place: Place, *, guests: bool) -> None:
    """Let guests enter and photos be finished one after the other, in this album, until the transaction ends.

    Photos are finished beside each other. So a guest and a photo always find each other, whoever is first.
    """
    lock = "pg_advisory_xact_lock" if guests else "pg_advisory_xact_lock_shared"
    await session.execute(
        text(f"SELECT {lock}(hashtextextended(:key, 0))"),
        {"key": f"guests of {place[0]}/{place[1]}"},
    )


def _albums() -> Select[Any]:
    return select(albums, collections.c.owner, collections.c.face_model_version).join(
        collections,
        and_(
            collections.c.account_id == albums.c.account_id,
            collections.c.collection_id == albums.c.album_id,
        ),
    )


def _album(row: Row[Any]) -> Album:
    return Album(
        row.account_id,
        row.album_id,
        row.album_key,
        row.title,
        row.source,
        row.threshold,
        row.retention_days,
        row.event_code,
        row.recompress,
        row.listing_error,
        row.created_at,
        row.owner,
        row.face_model_version,
    )
