"""All SQL that takes a collection out of a database and puts it into another one."""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from pydantic import with_config
from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ServiceUnavailableError
from app.store.matches import guests as guests_of
from app.store.queue import Place
from app.store.tables import albums, collections, faces, users

# A halfvec in binary form is 2 bytes of its size, 2 of zero, then the halves; SQL counts bytes from 1.
_HALVES = 5
_JSONB_VERSION = b"\x01"


class RowRefusedError(Exception):
    """The database can't take a row; the text names PostgreSQL's error class."""


# A field that comes or goes needs another version of the file (service/sealed_file.py).
@with_config(extra="forbid")
@dataclass(frozen=True, slots=True)
class MovedCollection:
    """A collection by itself. `tags` is JSON, as text."""

    collection_id: str
    face_model_version: str
    tags: str
    created_at: datetime
    owner: str | None
    kind: Literal["collection"] = "collection"


@with_config(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
@dataclass(frozen=True, slots=True)
class MovedUser:
    """A user. `metadata` is JSON, as text; `embedding` holds big-endian IEEE 754 halves."""

    user_id: str
    member_id: str
    subject: str | None
    metadata: str
    created_at: datetime
    embedding: bytes | None
    kind: Literal["user"] = "user"


@with_config(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
@dataclass(frozen=True, slots=True)
class MovedFace:
    """A face. The box is in ratios of the upright image; `embedding` holds big-endian IEEE 754 halves."""

    face_id: UUID
    image_id: UUID
    external_image_id: str | None
    external_image_label: str | None
    user_id: str | None
    box_left: float
    box_top: float
    box_width: float
    box_height: float
    confidence: float
    created_at: datetime
    photo: str | None
    embedding: bytes
    kind: Literal["face"] = "face"


async def take_time(session: AsyncConnection) -> None:
    """Let statements of this transaction, and the pauses between them, last as long as they need."""
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


async def find(session: AsyncConnection, place: Place) -> MovedCollection | None:
    """A collection, or None."""
    row = (
        await session.execute(
            select(
                collections.c.collection_id,
                collections.c.face_model_version,
                cast(collections.c.tags, Text).label("tags"),
                collections.c.created_at,
                collections.c.owner,
            ).where(collections.c.account_id == place[0], collections.c.collection_id == place[1])
        )
    ).first()
    return None if row is None else MovedCollection(**row._mapping)


async def album_guests(session: AsyncConnection, place: Place) -> list[str] | None:
    """The user ids of an album's guests; None for a collection that is no album."""
    album = select(albums.c.album_id).where(albums.c.account_id == place[0], albums.c.album_id == place[1])
    if await session.scalar(album) is None:
        return None
    return await guests_of(session, place)


async def users_after(
    session: AsyncConnection, place: Place, after: str | None, limit: int
) -> Sequence[MovedUser]:
    """Users of a collection in the order of their ids, without an album's guests."""
    query = select(
        users.c.user_id,
        users.c.member_id,
        users.c.subject,
        cast(users.c.metadata, Text).label("metadata"),
        users.c.created_at,
        _halves(users.c.embedding).label("embedding"),
    ).where(_users_of(place), users.c.guest.is_(False))
    if after is not None:
        query = query.where(users.c.user_id > after)
    rows = await session.execute(query.order_by(users.c.user_id).limit(limit))
    return [MovedUser(**row._mapping) for row in rows]


async def faces_after(
    session: AsyncConnection, place: Place, after: UUID | None, limit: int, guests: Sequence[str] = ()
) -> Sequence[MovedFace]:
    """Faces of a collection in the order of their ids.

    Without the selfies of an album's `guests`; a photo's face that was given to a guest is nobody's.
    """
    # A list rather than a join: without statistics the planner joins every face with every user.
    guest = func.coalesce(faces.c.user_id == any_(literal(list(guests), ARRAY(Text))), false())
    query = select(
        faces.c.face_id,
        faces.c.image_id,
        faces.c.external_image_id,
        faces.c.external_image_label,
        case((guest, None), else_=faces.c.user_id).label("user_id"),
        faces.c.box_left,
        faces.c.box_top,
        faces.c.box_width,
        faces.c.box_height,
        faces.c.confidence,
        faces.c.created_at,
        faces.c.photo,
        _halves(faces.c.embedding).label("embedding"),
    ).where(
        faces.c.account_id == place[0],
        faces.c.collection_id == place[1],
        not_(and_(guest, faces.c.photo_id.is_(None))),
    )
    if after is not None:
        query = query.where(faces.c.face_id > after)
    rows = await session.execute(query.order_by(faces.c.face_id).limit(limit))
    return [MovedFace(**row._mapping) for row in rows]


async def one_at_a_time(session: AsyncConnection, account_id: str) -> None:
    """Let one transaction at a time import into an account: two of the same file would not see each other."""
    key = f"import/{account_id}"
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


async def add_collection(session: AsyncConnection, place: Place, moved: MovedCollection) -> bool:
    """Store a collection, under the id of its place; False when there is one."""
    created = await session.execute(
        insert(collections)
        .values(
            account_id=place[0],
            collection_id=place[1],
            face_model_version=moved.face_model_version,
            tags=json.loads(moved.tags),
            created_at=moved.created_at,
            owner=moved.owner,
        )
        .on_conflict_do_nothing()
        .returning(collections.c.collection_id)
    )
    return created.first() is not None


_USER_COLUMNS = {
    "account_id": "varchar",
    "collection_id": "varchar",
    "user_id": "varchar",
    "member_id": "varchar",
    "subject": "varchar",
    "metadata": "bytea",  # the bytes of a jsonb and, below, of a halfvec, as COPY takes them
    "created_at": "timestamptz",
    "embedding": "bytea",
}
_FACE_COLUMNS = {
    "account_id": "varchar",
    "collection_id": "varchar",
    "face_id": "uuid",
    "image_id": "uuid",
    "external_image_id": "varchar",
    "external_image_label": "varchar",
    "user_id": "varchar",
    "box_left": "float4",
    "box_top": "float4",
    "box_width": "float4",
    "box_height": "float4",
    "confidence": "float4",
    "created_at": "timestamptz",
    "photo": "text",
    "embedding": "bytea",
}


async def add_users(session: AsyncConnection, place: Place, moved: Iterable[MovedUser]) -> None:
    """Store users.

    Raises:
        RowRefusedError: the database can't take one.
    """
    rows = [
        (
            *place,
            user.user_id,
            user.member_id,
            user.subject,
            _JSONB_VERSION + user.metadata.encode(),
            user.created_at,
            None if user.embedding is None else _halfvec(user.embedding),
        )
        for user in moved
    ]
    await _copy(session, "users", _USER_COLUMNS, rows)


async def add_faces(session: AsyncConnection, place: Place, moved: Iterable[MovedFace]) -> None:
    """Store faces, of users who are there.

    Raises:
        RowRefusedError: the database can't take one.
    """
    rows = [
        (
            *place,
            face.face_id,
            face.image_id,
            face.external_image_id,
            face.external_image_label,
            face.user_id,
            face.box_left,
            face.box_top,
            face.box_width,
            face.box_height,
            face.confidence,
            face.created_at,
            face.photo,
            _halfvec(face.embedding),
        )
        for face in moved
    ]
    await _copy(session, "faces", _FACE_COLUMNS, rows)


async def also_in(session: AsyncConnection, place: Place) -> str | None:
    """Another collection of the account with a FaceId of this one, or None."""
    # Grouped rather than joined: of rows that have just come, the planner knows no number.
    found: str | None = await session.scalar(
        text("""
            SELECT min(collection_id) FILTER (WHERE collection_id <> :collection) FROM faces
            WHERE account_id = :account GROUP BY face_id
            HAVING count(*) > 1 AND bool_or(collection_id = :collection) LIMIT 1
        """),
        {"account": place[0], "collection": place[1]},
    )
    return found


async def _copy(
    session: AsyncConnection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """PostgreSQL's binary COPY: vectors arrive as the bytes that they left as."""
    raw = (await session.get_raw_connection()).driver_connection
    assert isinstance(raw, psycopg.AsyncConnection)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    try:
        async with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(columns.values()))
            for row in rows:
                await copy.write_row(row)
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError from error
    except psycopg.Error as error:
        # PostgreSQL's own text may quote the row.
        raise RowRefusedError(f"{type(error).__name__} {error.sqlstate or ''}".strip()) from None


def _users_of(place: Place) -> ColumnElement[bool]:
    return and_(users.c.account_id == place[0], users.c.collection_id == place[1])


def _halves(embedding: Column[list[float]]) -> ColumnElement[bytes]:
    return func.substring(func.halfvec_send(embedding), _HALVES, type_=LargeBinary)


def _halfvec(halves: bytes) -> bytes:
    return struct.pack(">HH", len(halves) // 2, 0) + halves
