"""All SQL on who is in which photo: kept for guests, or searched once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import REAL, Double, Row, and_, cast, delete, literal, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Box, Vector
from app.store.photos import Photo, of_row
from app.store.queue import Place
from app.store.tables import faces, photo_matches, photos, users
from app.store.vectors import distance_to, most_distance


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a listing of the best first goes on: after this cosine, and this photo among equals."""

    cosine: float
    photo_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """A photo with a person: the face that is most like them.

    `cosine` is as the database has it; half precision may put it 1e-4 beyond 1.
    """

    photo: Photo
    face_id: UUID
    box: Box
    cosine: float

    @property
    def rank(self) -> Rank:
        return Rank(self.cosine, self.photo.photo_id)


@dataclass(frozen=True, slots=True)
class PhotoFace:
    """A face of a photo, and the guests it is taken for with their cosines, best first."""

    face_id: UUID
    box: Box
    confidence: float
    guests: tuple[tuple[str, float], ...]


# Rows that somebody deletes meanwhile are waited for and left out: a match can't name them.
_MATCH_PHOTO = text("""
    WITH near AS MATERIALIZED (
        SELECT users.account_id, users.collection_id, users.user_id, faces.photo_id, faces.face_id,
            faces.embedding <#> users.embedding AS distance
        FROM faces JOIN users
            ON users.account_id = faces.account_id AND users.collection_id = faces.collection_id
        WHERE faces.account_id = :account AND faces.collection_id = :album AND faces.photo_id = :photo
            AND users.guest AND users.embedding IS NOT NULL
            AND faces.embedding <#> users.embedding <= :most
        FOR KEY SHARE OF users
    )
    INSERT INTO photo_matches (account_id, album_id, user_id, photo_id, face_id, cosine)
    SELECT DISTINCT ON (user_id) account_id, collection_id, user_id, photo_id, face_id, -distance
    FROM near ORDER BY user_id, distance, face_id
""")

_MATCH_GUEST = text("""
    WITH near AS MATERIALIZED (
        SELECT users.account_id, users.collection_id, users.user_id, faces.photo_id, faces.face_id,
            faces.embedding <#> users.embedding AS distance
        FROM users JOIN faces
            ON faces.account_id = users.account_id AND faces.collection_id = users.collection_id
        WHERE users.account_id = :account AND users.collection_id = :album AND users.user_id = :user
            AND users.embedding IS NOT NULL AND faces.photo_id IS NOT NULL
            AND faces.embedding <#> users.embedding <= :most
        FOR KEY SHARE OF faces
    )
    INSERT INTO photo_matches (account_id, album_id, user_id, photo_id, face_id, cosine)
    SELECT DISTINCT ON (photo_id) account_id, collection_id, user_id, photo_id, face_id, -distance
    FROM near ORDER BY photo_id, distance, face_id
""")


async def match_photo(session: AsyncConnection, place: Place, photo_id: UUID, least: float) -> None:
    """Find the guests of an album in a photo that has just been indexed; `least` is a cosine."""
    values = {"account": place[0], "album": place[1], "photo": photo_id, "most": -least}
    await session.execute(_MATCH_PHOTO, values)


async def match_guest(session: AsyncConnection, place: Place, user_id: str, least: float) -> None:
    """Find the photos of a guest, instead of those that were found before; `least` is a cosine."""
    await session.execute(delete(photo_matches).where(*_of_guest(place, user_id)))
    values = {"account": place[0], "album": place[1], "user": user_id, "most": -least}
    await session.execute(_MATCH_GUEST, values)


async def guests(session: AsyncConnection, place: Place) -> list[str]:
    """The user ids of an album's guests."""
    found = await session.scalars(
        select(users.c.user_id)
        .where(users.c.account_id == place[0], users.c.collection_id == place[1], users.c.guest)
        .order_by(users.c.user_id)
    )
    return list(found)


async def match_all_guests(session: AsyncConnection, place: Place, least: float) -> None:
    """The same for every guest of an album."""
    for user_id in await guests(session, place):
        await match_guest(session, place, user_id, least)


async def of_guest(
    session: AsyncConnection, place: Place, user_id: str, after: Rank | None, limit: int
) -> list[Found]:
    """Photos of a guest, best first."""
    query = (
        select(photos, photo_matches.c.face_id, photo_matches.c.cosine, *_BOX)
        .join(photo_matches, photo_matches.c.photo_id == photos.c.photo_id)
        .join(
            faces,
            and_(
                faces.c.account_id == photo_matches.c.account_id,
                faces.c.collection_id == photo_matches.c.album_id,
                faces.c.face_id == photo_matches.c.face_id,
            ),
        )
        .where(*_of_guest(place, user_id))
    )
    if after is not None:
        # Cast by the server: as a double it would lie beside the REAL that it was read from.
        cosine = cast(literal(after.cosine, Double), REAL)
        query = query.where(
            or_(
                photo_matches.c.cosine < cosine,
                and_(photo_matches.c.cosine == cosine, photo_matches.c.photo_id > after.photo_id),
            )
        )
    query = query.order_by(photo_matches.c.cosine.desc(), photo_matches.c.photo_id).limit(limit)
    return [_found(row, float(row.cosine)) for row in await session.execute(query)]


async def search(
    session: AsyncConnection, place: Place, probe: Vector, *, least: float, after: Rank | None, limit: int
) -> list[Found]:
    """Photos of an album with a face like a probe, each once, best first. Every face is compared."""
    distance = distance_to(faces.c.embedding, "probe", len(probe))
    best = (
        select(faces.c.photo_id, faces.c.face_id, *_BOX, distance.label("distance"))
        .where(
            faces.c.account_id == place[0],
            faces.c.collection_id == place[1],
            faces.c.photo_id.is_not(None),
            distance <= most_distance(least),
        )
        .distinct(faces.c.photo_id)
        .order_by(faces.c.photo_id, "distance", faces.c.face_id)
        .subquery()
    )
    query = select(photos, best).join(best, best.c.photo_id == photos.c.photo_id)
    if after is not None:
        beyond = -after.cosine
        query = query.where(
            or_(
                best.c.distance > beyond,
                and_(best.c.distance == beyond, photos.c.photo_id > after.photo_id),
            )
        )
    query = query.order_by(best.c.distance, photos.c.photo_id).limit(limit)
    return [_found(row, -row.distance) for row in await session.execute(query, {"probe": probe})]


async def faces_of(session: AsyncConnection, place: Place, photo_id: UUID) -> list[PhotoFace]:
    """Every face of a photo with the guests it was taken for, largest first."""
    rows = await session.execute(
        select(faces.c.face_id, *_BOX, faces.c.confidence)
        .where(
            faces.c.account_id == place[0], faces.c.collection_id == place[1], faces.c.photo_id == photo_id
        )
        .order_by((faces.c.box_width * faces.c.box_height).desc(), faces.c.face_id)
    )
    found = rows.all()
    matched = await session.execute(
        select(photo_matches.c.face_id, users.c.member_id, photo_matches.c.cosine)
        .join(
            users,
            and_(
                users.c.account_id == photo_matches.c.account_id,
                users.c.collection_id == photo_matches.c.album_id,
                users.c.user_id == photo_matches.c.user_id,
            ),
        )
        .where(photo_matches.c.photo_id == photo_id)
        .order_by(photo_matches.c.cosine.desc(), photo_matches.c.user_id)
    )
    by_face: dict[UUID, list[tuple[str, float]]] = {}
    for row in matched:
        by_face.setdefault(row.face_id, []).append((row.member_id, float(row.cosine)))
    return [
        PhotoFace(row.face_id, _box(row), row.confidence, tuple(by_face.get(row.face_id, ())))
        for row in found
    ]


_BOX = (faces.c.box_left, faces.c.box_top, faces.c.box_width, faces.c.box_height)


def _of_guest(place: Place, user_id: str) -> Sequence[Any]:
    return (
        photo_matches.c.account_id == place[0],
        photo_matches.c.album_id == place[1],
        photo_matches.c.user_id == user_id,
    )


def _found(row: Row[Any], cosine: float) -> Found:
    return Found(of_row(row), row.face_id, _box(row), cosine)


def _box(row: Any) -> Box:
    return Box(row.box_left, row.box_top, row.box_width, row.box_height)
