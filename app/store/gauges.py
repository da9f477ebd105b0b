"""What the database says of the service's state, for metrics; every replica sees the same."""

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import album_counts, collections


@dataclass(frozen=True, slots=True)
class LaneState:
    """Jobs of a lane, whatever their model: due ones, those in hand, and the oldest's waiting, in seconds."""

    lane: str
    waiting: int
    in_hand: int
    oldest_s: float


_LANES = text("""
    SELECT split_part(lane, ' ', 1) AS lane,
        count(*) FILTER (WHERE NOT held) AS waiting,
        count(*) FILTER (WHERE held) AS in_hand,
        coalesce(extract(epoch FROM clock_timestamp() - min(run_at) FILTER (WHERE NOT held)), 0) AS oldest_s
    FROM (SELECT lane, run_at, coalesce(leased_until > clock_timestamp(), false) AS held
          FROM jobs WHERE run_at <= clock_timestamp()) AS due
    GROUP BY 1
""")


async def lanes(session: AsyncConnection) -> list[LaneState]:
    """The lanes in which something is due."""
    rows = await session.execute(_LANES)
    return [LaneState(row.lane, row.waiting, row.in_hand, float(row.oldest_s)) for row in rows]


async def photos_by_state(session: AsyncConnection) -> dict[str, int]:
    """Photos of all albums."""
    states = ("pending", "done", "failed", "skipped")
    row = (
        await session.execute(
            select(*(func.coalesce(func.sum(album_counts.c[state]), 0).label(state) for state in states))
        )
    ).one()
    return {state: int(getattr(row, state)) for state in states}


async def collections_of_other_models(session: AsyncConnection, face_model_version: str) -> int:
    """How many collections can't be searched by a service that runs this face model."""
    other = select(func.count()).where(collections.c.face_model_version != face_model_version)
    return await session.scalar(other) or 0
