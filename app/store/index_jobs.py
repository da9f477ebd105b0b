"""All SQL on jobs that index members anew: their items, and the switch to what they made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import (
    Row,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Box, StoredFace, Vector
from app.store import faces as face_store
from app.store import queue
from app.store.tables import faces, index_erased, index_items, index_jobs, users

State: TypeAlias = Literal["queued", "running", "succeeded", "failed"]

KIND = "rebuild"
"""What the queue calls these jobs; the subject is the job's id."""
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


async def create(session: AsyncConnection, job: Job) -> bool:
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
    lane = queue.tasks_lane(job.face_model_version)
    await queue.put(session, lane, KIND, [str(job.job_id)], (job.account_id, job.collection_id))
    return True


async def add_items(session: AsyncConnection, job_id: UUID, items: Sequence[Item]) -> None:
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


async def forget_old(session: AsyncConnection) -> None:
    """Delete finished jobs after a week."""
    await session.execute(delete(index_jobs).where(index_jobs.c.finished_at < func.now() - KEPT))


async def clear_items(session: AsyncConnection, job_id: UUID) -> None:
    """Forget the items of a job whose listing was cut off."""
    await session.execute(delete(index_items).where(index_items.c.job_id == job_id))


async def mark_listed(session: AsyncConnection, job_id: UUID) -> None:
    await session.execute(update(index_jobs).where(index_jobs.c.job_id == job_id).values(listed=True))


async def begin(session: AsyncConnection, job_id: UUID, face_model_version: str) -> Job | None:
    """A job that is to be worked on with a model; None when it has ended, or is for another model."""
    row = (
        await session.execute(
            update(index_jobs)
            .where(
                index_jobs.c.job_id == job_id,
                index_jobs.c.state.in_(ACTIVE),
                index_jobs.c.face_model_version == face_model_version,
            )
            .values(state="running", started_at=func.coalesce(index_jobs.c.started_at, func.now()))
            .returning(index_jobs)
        )
    ).first()
    return None if row is None else _job(row)


async def pending(session: AsyncConnection, job_id: UUID, limit: int) -> list[Item]:
    """Items that are still to be done, in their order."""
    rows = await session.execute(
        select(index_items)
        .where(index_items.c.job_id == job_id, index_items.c.state == "pending")
        .order_by(index_items.c.item)
        .limit(limit)
    )
    return [_item(row) for row in rows]


async def finish_items(session: AsyncConnection, job_id: UUID, results: Sequence[Result]) -> None:
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


async def fail_items(session: AsyncConnection, job_id: UUID, items: Sequence[int], reason: str) -> None:
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


async def faces_without_item(session: AsyncConnection, job: Job, limit: int) -> list[StoredFace]:
    """Some faces of the collection that were stored after a reembedding job was listed."""
    listed = exists().where(index_items.c.job_id == job.job_id, index_items.c.face_id == faces.c.face_id)
    return await face_store.some(session, job.account_id, job.collection_id, ~listed, limit)


async def next_number(session: AsyncConnection, job_id: UUID) -> int:
    """The number of the next item of a job."""
    last = await session.scalar(select(func.max(index_items.c.item)).where(index_items.c.job_id == job_id))
    return 0 if last is None else last + 1


async def finish(session: AsyncConnection, job_id: UUID, state: State, reason: str | None = None) -> None:
    """End a job: its counts are kept, its vectors are not, nor the photos that were indexed."""
    await queue.drop(session, KIND, [str(job_id)])
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


async def failures(session: AsyncConnection, job_id: UUID, limit: int) -> list[Failure]:
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


async def any_failed(session: AsyncConnection, job_id: UUID) -> bool:
    found = await session.scalar(
        select(index_items.c.item)
        .where(index_items.c.job_id == job_id, index_items.c.state != "done")
        .limit(1)
    )
    return found is not None


async def find(session: AsyncConnection, account_id: str, job_id: UUID) -> Progress | None:
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
            .select_from(index_jobs.join(counts, true()))
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


async def forget_user(session: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> None:
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


async def remember_user(session: AsyncConnection, account_id: str, collection_id: str, user_id: str) -> None:
    """A user who was erased is there again: jobs may bring them photos."""
    jobs = select(index_jobs.c.job_id).where(
        index_jobs.c.account_id == account_id, index_jobs.c.collection_id == collection_id
    )
    await session.execute(
        delete(index_erased).where(index_erased.c.job_id.in_(jobs), index_erased.c.user_id == user_id)
    )


async def end_of_other_models(
    session: AsyncConnection, account_id: str, collection_id: str, face_model_version: str
) -> None:
    """End the job of a collection that waits for a model which nobody runs now."""
    left = await session.scalars(
        select(index_jobs.c.job_id).where(
            index_jobs.c.account_id == account_id,
            index_jobs.c.collection_id == collection_id,
            index_jobs.c.state.in_(ACTIVE),
            index_jobs.c.face_model_version != face_model_version,
            ~queue.worked_on(KIND, cast(index_jobs.c.job_id, Text)),
        )
    )
    for job_id in left.all():
        await finish(session, job_id, "failed", "ModelChanged")


async def is_active(session: AsyncConnection, job_id: UUID) -> bool:
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
