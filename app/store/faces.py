"""All SQL on faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Box, Page, PublicId, StoredFace, Vector
from app.errors import InvalidParameterException
from app.store.database import Database
from app.store.nearest import nearest as nearest_rows
from app.store.tables import faces
from app.store.vector_memory import VectorMemory
from app.store.vectors import cosine_of

_SHOWN = (
    faces.c.face_id,
    faces.c.image_id,
    faces.c.external_image_id,
    faces.c.external_image_label,
    faces.c.user_id,
    faces.c.box_left,
    faces.c.box_top,
    faces.c.box_width,
    faces.c.box_height,
    faces.c.confidence,
    faces.c.photo,
)
# IndexFaces asks it each time: built once, it costs half.
_OF_IMAGE: Select[Any] = select(*_SHOWN).where(
    faces.c.account_id == bindparam("account"),
    faces.c.collection_id == bindparam("collection"),
    faces.c.image_id == bindparam("image"),
    faces.c.external_image_id == bindparam("external_image"),
)


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to store, with its unit vector, and the photo of an album that shows it."""

    face: StoredFace
    embedding: Vector
    photo_id: UUID | None = None


async def lock_image(
    session: AsyncConnection, account_id: str, collection_id: str, image_id: UUID, external_image_id: str
) -> None:
    """Let one transaction at a time index an image under an ExternalImageId."""
    key = f"{account_id}/{collection_id}/{image_id}/{external_image_id}"
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


async def of_image(
    session: AsyncConnection, account_id: str, collection_id: str, image_id: UUID, external_image_id: str
) -> list[StoredFace]:
    """The faces that an image left under an ExternalImageId."""
    values = {
        "account": account_id,
        "collection": collection_id,
        "image": image_id,
        "external_image": external_image_id,
    }
    return [_stored(row) for row in await session.execute(_OF_IMAGE, values)]


async def add(session: AsyncConnection, account_id: str, collection_id: str, new: Sequence[NewFace]) -> None:
    """Store faces."""
    if not new:
        return
    await session.execute(
        insert(faces),
        [
            {
                "account_id": account_id,
                "collection_id": collection_id,
                "face_id": item.face.face_id,
                "image_id": item.face.image_id,
                "external_image_id": item.face.external_image_id and item.face.external_image_id.safe,
                "external_image_label": item.face.external_image_id and item.face.external_image_id.original,
                "user_id": item.face.user_id,
                "box_left": item.face.box.left,
                "box_top": item.face.box.top,
                "box_width": item.face.box.width,
                "box_height": item.face.box.height,
                "confidence": item.face.confidence,
                "photo": item.face.photo,
                "embedding": item.embedding,
                "photo_id": item.photo_id,
            }
            for item in new
        ],
    )


async def page(
    session: AsyncConnection,
    account_id: str,
    collection_id: str,
    *,
    after: UUID | None,
    limit: int,
    face_ids: Sequence[UUID] | None = None,
    user_id: str | None = None,
) -> Page[StoredFace]:
    """Faces of a collection in the order of their ids, optionally of a user or among some ids."""
    query = _in(account_id, collection_id)
    if after is not None:
        query = query.where(faces.c.face_id > after)
    if face_ids is not None:
        query = query.where(faces.c.face_id.in_(face_ids))
    if user_id is not None:
        query = query.where(faces.c.user_id == user_id)
    rows = (await session.execute(query.order_by(faces.c.face_id).limit(limit + 1))).all()
    items = [_stored(row) for row in rows[:limit]]
    return Page(items, str(items[-1].face_id) if len(rows) > limit and items else None)


async def some(
    session: AsyncConnection, account_id: str, collection_id: str, condition: ColumnElement[bool], limit: int
) -> list[StoredFace]:
    """Some faces of a collection that meet a condition."""
    rows = await session.execute(_in(account_id, collection_id).where(condition).limit(limit))
    return [_stored(row) for row in rows]


async def vector_of(
    reader: AsyncConnection, account_id: str, collection_id: str, face_id: UUID
) -> Vector | None:
    """The embedding of a face, or None when the collection has no such face."""
    found = await reader.scalar(
        select(faces.c.embedding).where(
            _belongs(account_id, collection_id),
            faces.c.face_id == face_id,
        )
    )
    return None if found is None else np.asarray(found, dtype=np.float32)


async def require_vector(
    reader: AsyncConnection, account_id: str, collection_id: str, face_id: UUID
) -> Vector:
    """The embedding of a face.

    Raises:
        InvalidParameterException: the collection has no such face.
    """
    found = await vector_of(reader, account_id, collection_id, face_id)
    if found is None:
        raise InvalidParameterException("faceId was not found in the collection.", reason="FaceNotFound")
    return found


async def nearest(
    database: Database,
    account_id: str,
    collection_id: str,
    probe: Vector,
    *,
    model: str,
    min_cosine: float,
    limit: int,
    leave_out: UUID | None = None,
    by_index: bool = True,
    memory: VectorMemory | None = None,
) -> list[tuple[StoredFace, float]]:
    """The faces most like a probe with their cosines, best first.

    Args:
        model: the probe's FaceModelVersion; a collection of another one has nobody like it.
        by_index: the collection's index may help if it has one; without it the search is always exact.
    """
    found = await nearest_rows(
        database,
        faces,
        faces.c.face_id,
        _SHOWN,
        (account_id, collection_id),
        probe,
        model=model,
        min_cosine=min_cosine,
        limit=limit,
        leave_out=leave_out,
        by_index=by_index,
        memory=memory,
    )
    return [(_stored(row), cosine_of(row.distance)) for row in found]


@dataclass(frozen=True, slots=True)
class OwnedFace:
    """Whose a face is, if anybody's, and its vector."""

    user_id: str | None
    embedding: Vector


async def owned(
    session: AsyncConnection, account_id: str, collection_id: str, face_ids: Sequence[UUID]
) -> dict[UUID, OwnedFace]:
    """Owners and vectors of those faces that are there, locked until the transaction ends."""
    rows = await session.execute(
        select(faces.c.face_id, faces.c.user_id, faces.c.embedding)
        .where(_belongs(account_id, collection_id), faces.c.face_id.in_(face_ids))
        .order_by(faces.c.face_id)
        .with_for_update()
    )
    return {row.face_id: OwnedFace(row.user_id, np.asarray(row.embedding, np.float32)) for row in rows}


async def assign(
    session: AsyncConnection,
    account_id: str,
    collection_id: str,
    face_ids: Sequence[UUID],
    user_id: str | None,
) -> None:
    """Give faces to a user, or to nobody."""
    await session.execute(
        update(faces)
        .where(_belongs(account_id, collection_id), faces.c.face_id.in_(face_ids))
        .values(user_id=user_id)
    )


async def count_of_user(session: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> int:
    """How many faces a user has."""
    return (
        await session.scalar(
            select(func.count())
            .select_from(faces)
            .where(
                _belongs(account_id, collection_id),
                faces.c.user_id == user_id,
            )
        )
        or 0
    )


async def remove(
    session: AsyncConnection, account_id: str, collection_id: str, face_ids: Sequence[UUID]
) -> tuple[list[UUID], list[tuple[UUID, str]]]:
    """Delete faces that belong to no user.

    Returns:
        The ids deleted, and the ids kept because they belong to a user, with that user's id.
    """
    chosen = (_belongs(account_id, collection_id), faces.c.face_id.in_(face_ids))
    gone = await session.scalars(
        delete(faces).where(*chosen, faces.c.user_id.is_(None)).returning(faces.c.face_id)
    )
    deleted = list(gone)
    kept = await session.execute(select(faces.c.face_id, faces.c.user_id).where(*chosen))
    return deleted, [(row.face_id, row.user_id) for row in kept]


async def erase_of_user(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str, keep: Sequence[UUID] = ()
) -> int:
    """Delete the faces of a user but those named; returns how many were deleted."""
    gone = await session.scalars(
        delete(faces)
        .where(_belongs(account_id, collection_id), faces.c.user_id == user_id, faces.c.face_id.not_in(keep))
        .returning(faces.c.face_id)
    )
    return len(gone.all())


async def release_photos_of_user(
    session: AsyncConnection, account_id: str, collection_id: str, user_id: str
) -> None:
    """Let faces in photos of an album, which somebody gave to a user, be nobody's again."""
    await session.execute(
        update(faces)
        .where(_belongs(account_id, collection_id), faces.c.user_id == user_id, faces.c.photo_id.is_not(None))
        .values(user_id=None)
    )


async def erase_of_photo(
    session: AsyncConnection, account_id: str, collection_id: str, photo_id: UUID
) -> None:
    """Delete the faces of a photo of an album, with the matches that they made."""
    await session.execute(
        delete(faces).where(_belongs(account_id, collection_id), faces.c.photo_id == photo_id)
    )


def _belongs(account_id: str, collection_id: str) -> ColumnElement[bool]:
    return and_(faces.c.account_id == account_id, faces.c.collection_id == collection_id)


def _in(account_id: str, collection_id: str) -> Select[Any]:
    return select(*_SHOWN).where(_belongs(account_id, collection_id))


def _stored(row: Row[Any]) -> StoredFace:
    external = None
    if row.external_image_id is not None:
        external = PublicId(row.external_image_label, row.external_image_id)
    return StoredFace(
        face_id=row.face_id,
        image_id=row.image_id,
        external_image_id=external,
        user_id=row.user_id,
        box=Box(row.box_left, row.box_top, row.box_width, row.box_height),
        confidence=row.confidence,
        photo=row.photo,
    )
