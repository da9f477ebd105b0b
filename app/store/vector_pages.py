"""All SQL that brings vectors into a process's memory: whole collections, and what changed since."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Table,
    Text,
    and_,
    cast,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import UserDefinedType

from app.store.codes import Vectors
from app.store.queue import Place
from app.store.vectors import has_size

ID_BYTES = 16
"""Of a face."""

# 2 MB: the event loop stands still while the driver unpacks them.
_ROWS = 2000
_PAGES = 256
# Of a table's part with more pages a row, other collections take most: rows are fetched by their keys.
_DENSE = 2
_IN_PAGES = text("ctid >= CAST(:first AS tid) AND ctid < CAST(:end AS tid)")
_KEYS = {"faces": "face_id", "users": "user_id"}
_COUNT_BYTES = 4  # lead the values of a vector

_SERVER = func.pg_postmaster_start_time(type_=DateTime(timezone=True))


class _Snapshot(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


@dataclass(frozen=True, slots=True)
class Part:
    """Ids of faces as bytes (n, 16) or of users, and their vectors in halves."""

    ids: NDArray[np.uint8] | list[str]
    halves: bytes

    @property
    def last(self) -> UUID | str:
        """The greatest id, as PostgreSQL orders them."""
        if isinstance(self.ids, list):
            return max(self.ids, key=str.encode)
        return UUID(bytes=max(row.tobytes() for row in self.ids))

    def vectors(self) -> Vectors:
        """(n, size)"""
        return np.frombuffer(self.halves, ">f2").reshape(len(self.ids), -1).astype(np.float32)


def not_in(snapshot: ColumnElement[str], table: Table) -> ColumnElement[bool]:
    """Whether a row's vector came after a snapshot: its transaction ended later, or has not ended.

    A transaction that is still to come was another server's, whose backup was restored.
    """
    seen, changed_in = cast(snapshot, _Snapshot()), table.c.changed_in
    # The first condition is what the index answers.
    return and_(
        changed_in >= func.pg_snapshot_xmin(seen),
        changed_in < func.pg_snapshot_xmax(func.pg_current_snapshot()),
        ~func.pg_visible_in_snapshot(changed_in, seen),
    )


def server() -> ColumnElement[datetime]:
    """Since when a server runs: after a failover, or a restored backup, transactions have other numbers."""
    return _SERVER


async def snapshot_of(session: AsyncConnection) -> tuple[str, datetime]:
    """What a transaction of Database.snapshot sees, and whose it is."""
    found = await session.execute(select(cast(func.pg_current_snapshot(), Text), _SERVER))
    snapshot, since = found.one()
    return snapshot, since


async def count(session: AsyncConnection, table: Table, place: Place, since: str | None = None) -> int:
    """Rows with a vector; all, or those not in a snapshot."""
    found = await session.scalar(select(func.count()).where(_of(table, place), _after(since, table)))
    return int(found or 0)


async def parts(
    session: AsyncConnection, table: Table, place: Place, size: int, rows: int, since: str | None = None
) -> AsyncIterator[Part]:
    """Vectors of a size, some thousands at a time; all, or those not in a snapshot.

    PostgreSQL puts them together, which costs Python least.

    Args:
        rows: about how many there are.
    """
    key = table.c[_KEYS[table.name]]
    row = select(
        key, func.substring(func.halfvec_send(table.c.embedding), _COUNT_BYTES + 1).label("halves")
    ).where(_of(table, place), _after(since, table), has_size(table.c.embedding, size))
    pages = int(await session.scalar(_pages(table, place)) or 0) if rows > _ROWS else 0
    if pages and pages < _DENSE * rows:
        for first in range(0, pages, _PAGES):
            ends = {"first": f"({first},0)", "end": f"({first + _PAGES},0)"}
            part = await _part(session, table, row.where(_IN_PAGES), ends)
            if part is not None:
                yield part
        return
    following = row.order_by(key).limit(_ROWS)
    part = await _part(session, table, following)
    while part is not None:
        yield part
        if len(part.ids) < _ROWS:
            return
        part = await _part(session, table, following.where(key > part.last))


async def _part(
    session: AsyncConnection, table: Table, rows: Select[Any], values: Mapping[str, str] | None = None
) -> Part | None:
    are_faces = table.name == "faces"
    found = rows.subquery().c
    key = found[_KEYS[table.name]]
    ids = _together(func.uuid_send(key)) if are_faces else func.array_agg(key)
    some, halves = (await session.execute(select(ids, _together(found.halves)), values or {})).one()
    if halves is None:
        return None
    return Part(np.frombuffer(some, np.uint8).reshape(-1, ID_BYTES) if are_faces else some, halves)


def _of(table: Table, place: Place) -> ColumnElement[bool]:
    return and_(
        table.c.account_id == place[0], table.c.collection_id == place[1], table.c.embedding.is_not(None)
    )


def _together(values: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return func.string_agg(values, literal(b"", BYTEA), type_=BYTEA)


def _after(since: str | None, table: Table) -> ColumnElement[bool]:
    return true() if since is None else not_in(literal(since), table)


def _pages(table: Table, place: Place) -> Select[int]:
    """How many the table's part has that a collection lies in."""
    part = select(literal_column("tableoid", Integer)).select_from(table).where(_of(table, place)).limit(1)
    block_size = cast(func.current_setting("block_size"), BigInteger)
    return select(func.pg_relation_size(part.scalar_subquery()) // block_size)
