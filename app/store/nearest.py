"""The vectors of a collection that are nearest to a probe: by its index where it has one, else all compared.

docs/adr/0018 says why, and what was measured.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Table, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain import Vector
from app.store.queue import Place
from app.store.vector_index_names import name_of
from app.store.vectors import distance_to, has_size, near, sized

LEAST_CANDIDATES, MOST_CANDIDATES = 400, 1000
"""How many an index looks at: twice as many as are wanted, within these. The most is pgvector's."""

# For this transaction. Plans are made for the values at hand: a plan for any collection knows neither how
# large this one is nor that its index serves it. Every way but the index has to sort. Gathering from other
# processes takes longer than comparing a small collection; compiling a plan always does.
_PREPARE = text("""
    SELECT found.valid,
        set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
        CASE WHEN found.valid THEN
            set_config('hnsw.ef_search', :candidates, true)
            || set_config('hnsw.iterative_scan', 'strict_order', true)
            || set_config('enable_sort', 'off', true)
        ELSE set_config('max_parallel_workers_per_gather', '0', true) END
    FROM (
        SELECT coalesce(bool_or(indisvalid), false) AS valid
        FROM pg_index WHERE indexrelid = to_regclass(:index)
    ) AS found
""")
_NO_INDEX = "none"


async def nearest(
    session: AsyncSession,
    table: Table,
    key: Column[Any],
    shown: Sequence[Column[Any]],
    place: Place,
    probe: Vector,
    *,
    min_cosine: float,
    limit: int,
    leave_out: object | None = None,
    by_index: bool = True,
) -> Sequence[Row[Any]]:
    """Rows with the columns `shown` and `distance`, the negative cosine: best first, equals by their key.

    Args:
        table: `faces` or `users`.
        key: one of the columns shown; it names a row within its collection.
        leave_out: the key of a row that is no answer.
        by_index: an index may miss some; without it the search is always exact.
    """
    size = len(probe)
    embedding: Column[list[float]] = table.c.embedding
    rows = select(*shown).where(
        table.c.account_id == place[0], table.c.collection_id == place[1], embedding.is_not(None)
    )

    def best(found: Any, distance: ColumnElement[float], name: ColumnElement[Any], most: int) -> Any:
        answers = found.where(near(distance, min_cosine)).order_by(distance, name).limit(most)
        return answers if leave_out is None else answers.where(name != leave_out)

    candidates = min(MOST_CANDIDATES, max(LEAST_CANDIDATES, 2 * limit))
    index = name_of(table.name, place, size) if by_index else _NO_INDEX
    if await session.scalar(_PREPARE, {"index": index, "candidates": str(candidates)}):
        distance = distance_to(sized(embedding, size), probe)
        nearby = (
            rows.add_columns(distance.label("distance"))
            .where(has_size(embedding, size))
            .order_by(distance)
            .limit(candidates)
            .subquery()
        ).c
        # Of more answers than half of the candidates, too many are missed.
        trusted = candidates // 2
        query = best(select(*nearby), nearby.distance, nearby[key.name], min(limit, trusted + 1))
        found = (await session.execute(query)).all()
        if len(found) <= trusted:
            return found
    distance = distance_to(embedding, probe)
    query = best(rows.add_columns(distance.label("distance")), distance, key, limit)
    return (await session.execute(query)).all()
