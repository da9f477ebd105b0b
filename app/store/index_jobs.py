"""All SQL on jobs that index members anew: their items, and the switch to what they made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import Row, and_, case, delete, exists, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import Box, StoredFace, Vector
from app.store import faces as face_store
from app.store.tables import faces, index_erased, index_items, index_jobs, users

State: TypeAlias = Literal["queued", "running", "succeeded", "failed"]

ACTIVE = ("queued", "running")
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was asked for. `kind`: photos and prefix bring photos in, reembed goes over all faces."""

    job_id: UUID
    account_id: str
    collection_id: str
    kind: str
    prefix: str | None
    member_id_from: str | None
    allow_missing: bool
    face_model_version: str
    listed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    job_id: UUID
    collection_id: str
    state: State
    total: int
    done: int
    failed: int
    reason: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo that could not be indexed: its place in the job, whose it is if that is known, and why."""

    item: int
    member_id: str | None
    face_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of a job and the face that it is to bring; `box` is where a reembedded face lies."""

    item: int
    user_id: str | None
    member_id: str | None
    photo: str | None
    face_id: UUID
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The face that a photo brought."""

    item: int
    image_id: UUID
    box: Box
    confidence: float
    embedding: Vector


async def create(session: AsyncSession, job: Job) -> bool:
    """Enter a job; False when the collection has one that is not finished."""
    try:
        async with session.begin_nested():
            await session.execute(
                insert(index_jobs).values(
                    job_id=job.job_id,
                    account_id=job.account_id,
                    collection_id=job.collection_id,
                    kind=job.kind,
                    prefix=job.prefix,
                    member_id_from=job.member_id_from,
                    allow_missing=job.allow_missing,
                    face_model_version=job.face_model_version,
                    state="queued",
                    listed=job.listed,
                )
            )
    except IntegrityError:
        return False
    return True


async def add_items(session: AsyncSession, job_id: UUID, items: Sequence[Item]) -> None:
    """Enter photos of a job; without a photo an item has failed already."""
    if not items:
        return
    await session.execute(
        insert(index_items),
        [
            {
                "job_id": job_id,
                "item": item.item,
                "user_id": item.user_id,
                "member_id": item.member_id,
                "photo": item.photo,
                "face_id": item.face_id,
                "state": "failed" if item.photo is None else "pending",
                "reason": "NoPhotoReference" if item.photo is None else None,
                "box_left": item.box.left if item.box else None,
                "box_top": item.box.top if item.box else None,
                "box_width": item.box.width if item.box else None,
                "box_height": item.box.height if item.box else None,
            }
            for item in items
        ],
    )


async def forget_old(session: AsyncSession) -> None:
    """Delete finished jobs after a week."""
    await session.execute(delete(index_jobs).where(index_jobs.c.finished_at < func.now() - KEPT))


async def clear_items(session: AsyncSession, job_id: UUID) -> None:
    """Forget the items of a job whose listing was cut off."""
    await session.execute(delete(index_items).where(index_items.c.job_id == job_id))


async def mark_listed(session: AsyncSession, job_id: UUID) -> None:
    await session.execute(update(index_jobs).where(index_jobs.c.job_id == job_id).values(listed=True))


async def claim(session: AsyncSession, face_model_version: str, lease: timedelta) -> Job | None:
    """The oldest job for a model that nobody works on; it is the caller's until the lease ends."""
    free = (
        select(index_jobs.c.job_id)
        .where(
            index_jobs.c.state.in_(ACTIVE),
            index_jobs.c.face_model_version == face_model_version,
            or_(index_jobs.c.leased_until.is_(None), index_jobs.c.leased_until < func.now()),
        )
        # A job that was given back goes to the end: none keeps the others waiting.
        .order_by(func.coalesce(index_jobs.c.leased_until, index_jobs.c.created_at))
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
        .scalar_subquery()
    )
    row = (
        await session.execute(
            update(index_jobs)
            .where(index_jobs.c.job_id == free)
            .values(
                state="running",
                leased_until=func.now() + lease,
                started_at=func.coalesce(index_jobs.c.started_at, func.now()),
            )
            .returning(index_jobs)
        )
    ).first()
    return None if row is None else _job(row)


async def renew(session: AsyncSession, job_id: UUID, lease: timedelta) -> None:
    """Keep a job for longer; a lease of zero gives it back."""
    await session.execute(
        update(index_jobs)
        .where(index_jobs.c.job_id == job_id, index_jobs.c.state.in_(ACTIVE))
        .values(leased_until=func.now() + lease)
    )


async def pending(session: AsyncSession, job_id: UUID, limit: int) -> list[Item]:
    """Items that are still to be done, in their order."""
    rows = await session.execute(
        select(index_items)
        .where(index_items.c.job_id == job_id, index_items.c.state == "pending")
        .order_by(index_items.c.item)
        .limit(limit)
    )
    return [_item(row) for row in rows]


async def finish_items(session: AsyncSession, job_id: UUID, results: Sequence[Result]) -> None:
    """Keep the faces that photos brought until the switch."""
    for result in results:
        await session.execute(
            update(index_items)
            .where(
                index_items.c.job_id == job_id,
                index_items.c.item == result.item,
                index_items.c.state == "pending",
            )
            .values(
                state="done",
                image_id=result.image_id,
                box_left=result.box.left,
                box_top=result.box.top,
                box_width=result.box.width,
                box_height=result.box.height,
                confidence=result.confidence,
                embedding=result.embedding,
            )
        )


async def fail_items(session: AsyncSession, job_id: UUID, items: Sequence[int], reason: str) -> None:
    """Photos that could not be indexed, and why."""
    await session.execute(
        update(index_items)
        .where(
            index_items.c.job_id == job_id,
            index_items.c.item.in_(items),
            index_items.c.state == "pending",
        )
        .values(state="failed", reason=reason)
    )


async def switch_photos(session: AsyncSession, job: Job, max_faces: int) -> None:
    """Give every member the faces of their photos: those of the same photo are replaced, no others.

    Of a member who would have more than `max_faces`, the last ones are left out.
    """
    values = {
        "job": job.job_id,
        "account": job.account_id,
        "collection": job.collection_id,
        "most": max_faces,
    }
    for statement in _SWITCH_PHOTOS:
        await session.execute(statement, values)


async def switch_reembedded(session: AsyncSession, job: Job, *, drop_others: bool) -> None:
    """Give every face the vector of the job's model, and the collection that model.

    Faces without a new vector are deleted if `drop_others` says so: their vectors are of another model.
    """
    values = {
        "job": job.job_id,
        "account": job.account_id,
        "collection": job.collection_id,
        "model": job.face_model_version,
    }
    if drop_others:
        await session.execute(_DROP_OTHERS, values)
    for statement in _SWITCH_REEMBEDDED:
        await session.execute(statement, values)


async def faces_without_item(session: AsyncSession, job: Job, limit: int) -> list[StoredFace]:
    """Some faces of the collection that were stored after a reembedding job was listed."""
    listed = exists().where(index_items.c.job_id == job.job_id, index_items.c.face_id == faces.c.face_id)
    return await face_store.some(session, job.account_id, job.collection_id, ~listed, limit)


async def next_number(session: AsyncSession, job_id: UUID) -> int:
    """The number of the next item of a job."""
    last = await session.scalar(select(func.max(index_items.c.item)).where(index_items.c.job_id == job_id))
    return 0 if last is None else last + 1


async def finish(session: AsyncSession, job_id: UUID, state: State, reason: str | None = None) -> None:
    """End a job: its counts are kept, its vectors are not, nor the photos that were indexed."""
    counts = (
        select(
            func.count().filter(index_items.c.state == "done").label("done"),
            func.count().filter(index_items.c.state != "done").label("failed"),
        )
        .where(index_items.c.job_id == job_id)
        .subquery()
    )
    row = (await session.execute(select(counts))).one()
    await session.execute(
        update(index_jobs)
        .where(index_jobs.c.job_id == job_id)
        .values(state=state, reason=reason, done=row.done, failed=row.failed, finished_at=func.now())
    )
    await session.execute(
        delete(index_items).where(index_items.c.job_id == job_id, index_items.c.state == "done")
    )
    await session.execute(
        update(index_items).where(index_items.c.job_id == job_id).values(embedding=None, photo=None)
    )


async def failures(session: AsyncSession, job_id: UUID, limit: int) -> list[Failure]:
    """Photos that could not be indexed, in their order."""
    known = index_items.join(index_jobs, index_jobs.c.job_id == index_items.c.job_id).outerjoin(
        users,
        and_(
            users.c.account_id == index_jobs.c.account_id,
            users.c.collection_id == index_jobs.c.collection_id,
            users.c.user_id == index_items.c.user_id,
        ),
    )
    rows = await session.execute(
        select(
            index_items.c.item,
            func.coalesce(index_items.c.member_id, users.c.member_id).label("member_id"),
            index_items.c.face_id,
            index_items.c.reason,
        )
        .select_from(known)
        .where(index_items.c.job_id == job_id, index_items.c.state == "failed")
        .order_by(index_items.c.item)
        .limit(limit)
    )
    return [Failure(row.item, row.member_id, row.face_id, row.reason or "NotIndexed") for row in rows]


async def any_failed(session: AsyncSession, job_id: UUID) -> bool:
    found = await session.scalar(
        select(index_items.c.item)
        .where(index_items.c.job_id == job_id, index_items.c.state != "done")
        .limit(1)
    )
    return found is not None


async def find(session: AsyncSession, account_id: str, job_id: UUID) -> Progress | None:
    """A job of an account and how far it is, or None."""
    counts = (
        select(
            func.count().label("total"),
            func.count().filter(index_items.c.state == "done").label("items_done"),
            func.count().filter(index_items.c.state == "failed").label("items_failed"),
        )
        .where(index_items.c.job_id == job_id)
        .subquery()
    )
    over = index_jobs.c.state.not_in(ACTIVE)
    row = (
        await session.execute(
            select(
                index_jobs,
                case((over, index_jobs.c.done + index_jobs.c.failed), else_=counts.c.total).label("all"),
                case((over, index_jobs.c.done), else_=counts.c.items_done).label("now_done"),
                case((over, index_jobs.c.failed), else_=counts.c.items_failed).label("now_failed"),
            )
            .select_from(index_jobs.join(counts, text("true")))
            .where(index_jobs.c.job_id == job_id, index_jobs.c.account_id == account_id)
        )
    ).first()
    if row is None:
        return None
    return Progress(
        row.job_id,
        row.collection_id,
        row.state,
        row.all,
        row.now_done,
        row.now_failed,
        row.reason,
        row.created_at,
        row.finished_at,
    )


async def forget_user(session: AsyncSession, account_id: str, collection_id: str, user_id: str) -> None:
    """Take a user out of the jobs of their collection, so that none brings them back."""
    of_collection = (
        index_jobs.c.account_id == account_id,
        index_jobs.c.collection_id == collection_id,
    )
    jobs = select(index_jobs.c.job_id).where(*of_collection)
    await session.execute(
        delete(index_items).where(index_items.c.job_id.in_(jobs), index_items.c.user_id == user_id)
    )
    # A job that is still listing may enter them again.
    active = select(index_jobs.c.job_id, literal(user_id)).where(
        *of_collection, index_jobs.c.state.in_(ACTIVE)
    )
    await session.execute(
        upsert(index_erased).from_select(["job_id", "user_id"], active).on_conflict_do_nothing()
    )


async def remember_user(session: AsyncSession, account_id: str, collection_id: str, user_id: str) -> None:
    """A user who was erased is there again: jobs may bring them photos."""
    jobs = select(index_jobs.c.job_id).where(
        index_jobs.c.account_id == account_id, index_jobs.c.collection_id == collection_id
    )
    await session.execute(
        delete(index_erased).where(index_erased.c.job_id.in_(jobs), index_erased.c.user_id == user_id)
    )


async def end_of_other_models(
    session: AsyncSession, account_id: str, collection_id: str, face_model_version: str
) -> None:
    """End the job of a collection that waits for a model which nobody runs now."""
    left = await session.scalars(
        select(index_jobs.c.job_id).where(
            index_jobs.c.account_id == account_id,
            index_jobs.c.collection_id == collection_id,
            index_jobs.c.state.in_(ACTIVE),
            index_jobs.c.face_model_version != face_model_version,
            or_(index_jobs.c.leased_until.is_(None), index_jobs.c.leased_until < func.now()),
        )
    )
    for job_id in left.all():
        await finish(session, job_id, "failed", "ModelChanged")


async def is_active(session: AsyncSession, job_id: UUID) -> bool:
    """Whether a job is still to be worked on; locked until the transaction ends."""
    state = await session.scalar(
        select(index_jobs.c.state).where(index_jobs.c.job_id == job_id).with_for_update()
    )
    return state in ACTIVE


def _job(row: Row[Any]) -> Job:
    return Job(
        row.job_id,
        row.account_id,
        row.collection_id,
        row.kind,
        row.prefix,
        row.member_id_from,
        row.allow_missing,
        row.face_model_version,
        row.listed,
    )


def _item(row: Row[Any]) -> Item:
    box = None
    if row.box_left is not None:
        box = Box(row.box_left, row.box_top, row.box_width, row.box_height)
    return Item(row.item, row.user_id, row.member_id, row.photo, row.face_id, box)


_SWITCH_PHOTOS = tuple(
    text(statement)
    for statement in (
        """
        UPDATE index_items SET state = 'failed', reason = 'MemberErased'
        WHERE job_id = :job AND state = 'done'
          AND user_id IN (SELECT user_id FROM index_erased WHERE job_id = :job)
        """,
        """
        INSERT INTO users (account_id, collection_id, user_id, member_id)
        SELECT DISTINCT ON (user_id) :account, :collection, user_id, member_id
        FROM index_items WHERE job_id = :job AND state = 'done'
        ON CONFLICT DO NOTHING
        """,
        # A second face of the same picture would be the same vector again.
        """
        UPDATE index_items SET state = 'failed', reason = 'SamePhotoTwice'
        WHERE job_id = :job AND state = 'done' AND EXISTS (
            SELECT 1 FROM index_items earlier
            WHERE earlier.job_id = :job AND earlier.state = 'done' AND earlier.item < index_items.item
              AND earlier.user_id = index_items.user_id AND earlier.image_id = index_items.image_id
        )
        """,
        # Refreshed faces take the place of those that they replace; only others count.
        """
        UPDATE index_items SET state = 'failed', reason = 'TooManyFaces'
        FROM (
            SELECT item, row_number() OVER (PARTITION BY user_id ORDER BY item) + (
                SELECT count(*) FROM faces
                WHERE faces.account_id = :account AND faces.collection_id = :collection
                  AND faces.user_id = new.user_id
            ) AS place
            FROM index_items new
            WHERE job_id = :job AND state = 'done' AND NOT EXISTS (
                SELECT 1 FROM faces
                WHERE faces.account_id = :account AND faces.collection_id = :collection
                  AND faces.user_id = new.user_id
                  AND (faces.photo = new.photo OR faces.image_id = new.image_id)
            )
        ) AS ranked
        WHERE job_id = :job AND index_items.item = ranked.item AND ranked.place > :most
        """,
        """
        DELETE FROM faces USING index_items new
        WHERE faces.account_id = :account AND faces.collection_id = :collection
          AND new.job_id = :job AND new.state = 'done' AND faces.user_id = new.user_id
          AND (faces.photo = new.photo OR faces.image_id = new.image_id)
        """,
        """
        INSERT INTO faces (account_id, collection_id, face_id, image_id, external_image_id,
            external_image_label, user_id, box_left, box_top, box_width, box_height, confidence, photo,
            embedding)
        SELECT :account, :collection, face_id, image_id, user_id, member_id, user_id, box_left, box_top,
            box_width, box_height, confidence,
            CASE WHEN photo NOT ILIKE 'http%?%' THEN photo END,  -- a query may hold a signature
            embedding
        FROM index_items WHERE job_id = :job AND state = 'done'
        """,
        """
        UPDATE users SET embedding = made.mean
        FROM (
            SELECT user_id, l2_normalize(avg(embedding)) AS mean FROM faces
            WHERE account_id = :account AND collection_id = :collection
              AND user_id IN (SELECT user_id FROM index_items WHERE job_id = :job AND state = 'done')
            GROUP BY user_id
        ) AS made
        WHERE users.account_id = :account AND users.collection_id = :collection
          AND users.user_id = made.user_id
        """,
    )
)
_DROP_OTHERS = text("""
    DELETE FROM faces
    WHERE account_id = :account AND collection_id = :collection AND NOT EXISTS (
        SELECT 1 FROM index_items new
        WHERE new.job_id = :job AND new.state = 'done' AND new.face_id = faces.face_id
    )
""")
_SWITCH_REEMBEDDED = tuple(
    text(statement)
    for statement in (
        """
        UPDATE faces SET embedding = new.embedding, image_id = new.image_id, confidence = new.confidence,
            box_left = new.box_left, box_top = new.box_top, box_width = new.box_width,
            box_height = new.box_height
        FROM index_items new
        WHERE faces.account_id = :account AND faces.collection_id = :collection
          AND new.job_id = :job AND new.state = 'done' AND faces.face_id = new.face_id
        """,
        """
        UPDATE users SET embedding = (
            SELECT l2_normalize(avg(faces.embedding)) FROM faces
            WHERE faces.account_id = :account AND faces.collection_id = :collection
              AND faces.user_id = users.user_id
        )
        WHERE account_id = :account AND collection_id = :collection
        """,
        """
        UPDATE collections SET face_model_version = :model
        WHERE account_id = :account AND collection_id = :collection
        """,
    )
)
