"""All SQL on faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ColumnElement,
    Double,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import Box, Page, PublicId, StoredFace, Vector
from app.store.tables import faces, users

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
)


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to store, with its unit vector."""

    face: StoredFace
    embedding: Vector


@dataclass(frozen=True, slots=True)
class UserMatch:
    """The best face of a user."""

    user_id: str
    member_id: str
    face_id: UUID
    cosine: float


async def lock_image(
    session: AsyncSession, account_id: str, collection_id: str, image_id: UUID, external_image_id: str
) -> None:
    """Let one transaction at a time index an image under an ExternalImageId."""
    key = f"{account_id}/{collection_id}/{image_id}/{external_image_id}"
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


async def of_image(
    session: AsyncSession, account_id: str, collection_id: str, image_id: UUID, external_image_id: str
) -> list[StoredFace]:
    """The faces that an image left under an ExternalImageId."""
    rows = await session.execute(
        _in(account_id, collection_id).where(
            faces.c.image_id == image_id, faces.c.external_image_id == external_image_id
        )
    )
    return [_stored(row) for row in rows]


async def add(session: AsyncSession, account_id: str, collection_id: str, new: Sequence[NewFace]) -> None:
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
                "embedding": item.embedding,
            }
            for item in new
        ],
    )


async def page(
    session: AsyncSession,
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


async def vector_of(
    session: AsyncSession, account_id: str, collection_id: str, face_id: UUID
) -> Vector | None:
    """The embedding of a face, or None when the collection has no such face."""
    found = await session.scalar(
        select(faces.c.embedding).where(
            _belongs(account_id, collection_id),
            faces.c.face_id == face_id,
        )
    )
    return None if found is None else np.asarray(found, dtype=np.float32)


async def nearest(
    session: AsyncSession,
    account_id: str,
    collection_id: str,
    probe: Vector,
    *,
    min_cosine: float,
    limit: int,
    leave_out: UUID | None = None,
) -> list[tuple[StoredFace, float]]:
    """The faces most like a probe with their cosines, best first. Exact: every face is compared."""
    distance = _distance(probe)
    query = _in(account_id, collection_id).add_columns(distance.label("distance"))
    query = query.where(_near(distance, min_cosine))
    if leave_out is not None:
        query = query.where(faces.c.face_id != leave_out)
    rows = await session.execute(query.order_by("distance", faces.c.face_id).limit(limit))
    return [(_stored(row), _cosine(row.distance)) for row in rows]


async def nearest_users(
    session: AsyncSession,
    account_id: str,
    collection_id: str,
    probe: Vector,
    *,
    min_cosine: float,
    limit: int,
    user_id: str | None = None,
) -> list[UserMatch]:
    """The users most like a probe, each by their best face, best first. Exact."""
    distance = _distance(probe)
    scored = (
        select(faces.c.user_id, users.c.member_id, faces.c.face_id, distance.label("distance"))
        .join(
            users,
            and_(
                users.c.account_id == faces.c.account_id,
                users.c.collection_id == faces.c.collection_id,
                users.c.user_id == faces.c.user_id,
            ),
        )
        .where(_belongs(account_id, collection_id), _near(distance, min_cosine))
    )
    if user_id is not None:
        scored = scored.where(faces.c.user_id == user_id)
    each = scored.subquery()
    best = (
        select(each)
        .ext(distinct_on(each.c.user_id))
        .order_by(each.c.user_id, each.c.distance, each.c.face_id)
        .subquery()
    )
    rows = await session.execute(select(best).order_by(best.c.distance, best.c.user_id).limit(limit))
    return [UserMatch(row.user_id, row.member_id, row.face_id, _cosine(row.distance)) for row in rows]


async def count_of_user(session: AsyncSession, account_id: str, collection_id: str, user_id: str) -> int:
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
    session: AsyncSession, account_id: str, collection_id: str, face_ids: Sequence[UUID]
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


def _belongs(account_id: str, collection_id: str) -> ColumnElement[bool]:
    return and_(faces.c.account_id == account_id, faces.c.collection_id == collection_id)


def _in(account_id: str, collection_id: str) -> Select[Any]:
    return select(*_SHOWN).where(_belongs(account_id, collection_id))


def _distance(probe: Vector) -> ColumnElement[float]:
    # Negative inner product: of unit vectors, that is the negative cosine.
    return faces.c.embedding.op("<#>", return_type=Double())(literal(probe, HALFVEC(len(probe))))


def _near(distance: ColumnElement[float], min_cosine: float) -> ColumnElement[bool]:
    # Everything is near at -1: half precision may put opposite vectors a little beyond it.
    return true() if min_cosine <= -1 else distance <= -min_cosine


def _cosine(distance: float) -> float:
    return min(1.0, max(-1.0, -distance))  # half precision may overshoot by 1e-4


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
    )
