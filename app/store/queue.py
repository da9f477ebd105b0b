"""The queue of all background work, in PostgreSQL (docs/adr/0014).

A job is put in, and ended, in the same transaction as the rows that it is about: the two can't disagree.
A claimed job is the claimer's until its lease ends; then anybody may claim it again, and what the first
one would still commit finds its lease gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.logs import correlation_id
from app.store.tables import jobs

UPKEEP = "upkeep"
"""The lane of work that needs no model."""

INDEXES = "indexes"
"""The lane of building indexes of vectors, which takes long and waits for nothing but the database."""

Place: TypeAlias = tuple[str, str]
"""An account and a collection; a job of theirs goes when the collection goes."""


def photos_lane(face_model_version: str) -> str:
    """The lane of photos, for workers that run a face model."""
    return f"photos {face_model_version}"


def tasks_lane(face_model_version: str) -> str:
    """The lane of listings and rebuilds, of which a worker does one at a time."""
    return f"tasks {face_model_version}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in hand. `attempts` counts this one too; `lease` proves whose it is; `correlation_id` is that of
    the request that asked for it."""

    job_id: int
    kind: str
    subject: str
    attempts: int
    lease: UUID
    correlation_id: str | None = None


_PUT = text("""
    INSERT INTO jobs (lane, kind, subject, account_id, collection_id, run_at, correlation_id)
    SELECT :lane, :kind, subject, :account_id, :collection_id, now() + :delay, :correlation_id
    FROM unnest(:subjects) AS new(subject)
    ON CONFLICT (kind, subject) DO UPDATE SET
        lane = excluded.lane, run_at = excluded.run_at, attempts = 0, lease = NULL, leased_until = NULL,
        correlation_id = excluded.correlation_id
""").bindparams(bindparam("subjects", type_=ARRAY(Text)))

# A job keeps its place in the line while it is in hand: that of a killed worker comes before younger ones.
# clock_timestamp, not now(): a lease begins when the job is claimed, not when the transaction began.
_CLAIM = text("""
    WITH due AS MATERIALIZED (
        SELECT job_id FROM jobs
        WHERE lane = :lane AND run_at <= clock_timestamp()
            AND (leased_until IS NULL OR leased_until < clock_timestamp())
        ORDER BY run_at, job_id
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET lease = gen_random_uuid(), leased_until = clock_timestamp() + :lease,
        attempts = attempts + 1
    FROM due WHERE jobs.job_id = due.job_id
    RETURNING jobs.job_id, kind, subject, attempts, jobs.lease, correlation_id
""")


async def put(
    session: AsyncConnection,
    lane: str,
    kind: str,
    subjects: Sequence[str],
    place: Place | None = None,
    delay: timedelta = timedelta(0),
) -> None:
    """Queue jobs of a kind; one that is queued already begins anew, also where somebody has it in hand."""
    account_id, collection_id = place or (None, None)
    await session.execute(
        _PUT,
        {
            "lane": lane,
            "kind": kind,
            "subjects": sorted(set(subjects)),  # in one order, so that two callers don't block each other
            "account_id": account_id,
            "collection_id": collection_id,
            "delay": delay,
            "correlation_id": correlation_id(),
        },
    )


async def put_if_absent(session: AsyncConnection, lane: str, kind: str, subject: str) -> None:
    """Queue a job unless it is queued already; for those that come again and again."""
    await session.execute(insert(jobs).values(lane=lane, kind=kind, subject=subject).on_conflict_do_nothing())


async def claim(session: AsyncConnection, lane: str, most: int, lease: timedelta) -> list[Claim]:
    """Up to `most` jobs that are due, the longest due first; they are the caller's until the lease ends."""
    rows = await session.execute(_CLAIM, {"lane": lane, "most": most, "lease": lease})
    return [Claim(*row) for row in rows]


async def renew(session: AsyncConnection, claimed: Sequence[Claim], lease: timedelta) -> None:
    """Keep jobs in hand for longer, those that are still the caller's."""
    await session.execute(
        update(jobs)
        .where(
            jobs.c.job_id.in_([one.job_id for one in claimed]),
            jobs.c.lease.in_([one.lease for one in claimed]),
        )
        .values(leased_until=func.clock_timestamp() + lease)
    )


async def finish(session: AsyncConnection, claimed: Claim) -> bool:
    """Take a job out of the queue; False when it is not the caller's any more: then nothing may be kept."""
    gone = await session.execute(delete(jobs).where(*_held(claimed)))
    return gone.rowcount == 1


async def hold(session: AsyncConnection, claimed: Claim) -> bool:
    """Whether a job is still the caller's; if so, it stays so until the transaction ends."""
    found = await session.scalar(select(jobs.c.job_id).where(*_held(claimed)).with_for_update())
    return found is not None


async def give_back(
    session: AsyncConnection, claimed: Claim, delay: timedelta = timedelta(0), *, untried: bool = False
) -> bool:
    """Let a job be claimed again after a while; `untried`: as if this attempt had not been."""
    back = update(jobs).where(*_held(claimed)).values(lease=None, leased_until=None)
    back = back.values(run_at=func.clock_timestamp() + delay)
    if untried:
        back = back.values(attempts=func.greatest(jobs.c.attempts - 1, 0))
    done = await session.execute(back)
    return done.rowcount == 1


async def drop(session: AsyncConnection, kind: str, subjects: Sequence[str]) -> None:
    """Take jobs out, whoever has them in hand."""
    await session.execute(delete(jobs).where(jobs.c.kind == kind, jobs.c.subject.in_(subjects)))


async def change_model(session: AsyncConnection, place: Place, before: str, after: str) -> None:
    """Leave the jobs of a collection to workers that run another face model."""
    for lane in (photos_lane, tasks_lane):
        await session.execute(
            update(jobs)
            .where(
                jobs.c.account_id == place[0], jobs.c.collection_id == place[1], jobs.c.lane == lane(before)
            )
            .values(lane=lane(after))
        )


async def is_queued(session: AsyncConnection, kind: str, subject: str) -> bool:
    """Whether a job waits or is in hand."""
    found = await session.scalar(select(jobs.c.job_id).where(jobs.c.kind == kind, jobs.c.subject == subject))
    return found is not None


async def in_hand(session: AsyncConnection, place: Place, kind: str) -> int:
    """How many jobs of a collection somebody works on now."""
    held = (jobs.c.account_id == place[0], jobs.c.collection_id == place[1], jobs.c.kind == kind, *_leased())
    return await session.scalar(select(func.count()).select_from(jobs).where(*held)) or 0


def worked_on(kind: str, subject: Any) -> Any:
    """Whether somebody has the job of a kind and a subject, a column's text, in hand."""
    return select(jobs.c.job_id).where(jobs.c.kind == kind, jobs.c.subject == subject, *_leased()).exists()


def _leased() -> tuple[Any, ...]:
    return (jobs.c.lease.is_not(None), jobs.c.leased_until > func.clock_timestamp())


def _held(claimed: Claim) -> tuple[Any, ...]:
    return (jobs.c.job_id == claimed.job_id, jobs.c.lease == claimed.lease)
