"""All SQL on the counts of calls by Rekognition operation."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import operation_counts


async def add(session: AsyncConnection, account_id: str, day: date, counts: Mapping[str, int]) -> None:
    """Add calls by operation to those of a day. Rows are locked in the order of the operations' names."""
    rows = [
        {"account_id": account_id, "day": day, "operation": operation, "calls": counts[operation]}
        for operation in sorted(counts)
    ]
    if not rows:
        return
    new = insert(operation_counts).values(rows)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["account_id", "day", "operation"],
            set_={"calls": operation_counts.c.calls + new.excluded.calls},
        )
    )


async def totals(session: AsyncConnection, account_id: str, since: date | None = None) -> dict[str, int]:
    """An account's calls by operation, in all or from a day on."""
    query = (
        select(operation_counts.c.operation, func.sum(operation_counts.c.calls).label("calls"))
        .where(operation_counts.c.account_id == account_id)
        .group_by(operation_counts.c.operation)
    )
    if since is not None:
        query = query.where(operation_counts.c.day >= since)
    return {row.operation: int(row.calls) for row in await session.execute(query)}
