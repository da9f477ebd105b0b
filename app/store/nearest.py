"""The vectors of a collection that are nearest to a probe: by its index where it has one, else all compared.

docs/adr/0018 says why, and what was measured.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    CompoundSelect,
    Executable,
    Row,
    Select,
    Table,
    Uuid,
    all_,
    any_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Vector
from app.store.database import Database
from app.store.held import Held
from app.store.queue import Place
from app.store.tables import collections
from app.store.vector_index_names import name_of
from app.store.vector_memory import VectorMemory
from app.store.vector_pages import not_in, server
from app.store.vectors import Uuids, distance_to, has_size, most_distance, sized

LEAST_CANDIDATES, MOST_CANDIDATES = 400, 1000
"""How many an index looks at: 2.5 times as many as are wanted, or a share of the rows, within these. The
most is pgvector's.
"""
_ROWS_OF_A_CANDIDATE = 1000
# Of the candidates so many are taken. For a single one more than are alive pgvector would look at as many
# again, and faces that were deleted a moment ago are candidates, too.
_TAKEN = 0.8
# An answer of more than this share of those taken misses too many.
_TRUSTED = 0.5

_PLACE_OF_INDEX = text("pg_class JOIN pg_index ON indexrelid = oid")
_IS_VALID = text("indisvalid AND oid = to_regclass(:index)")
# PostgreSQL asks these once a statement, before the first row.
_UNLESS_INDEXED = text(f"NOT EXISTS (SELECT FROM {_PLACE_OF_INDEX} WHERE {_IS_VALID})")
_IS_OF_MODEL = exists().where(
    collections.c.account_id == bindparam("account"),
    collections.c.collection_id == bindparam("collection"),
    collections.c.face_model_version == bindparam("model"),
)
# For one transaction: every way but the index has to sort.
_PREPARE = text("""
    SELECT set_config('hnsw.ef_search', :candidates, true),
        set_config('hnsw.iterative_scan', 'strict_order', true), set_config('enable_sort', 'off', true)
""")

# Of more rows, comparing all in their order is as fast as fetching each by its key.
_COMPARED_SHARE = 0.25

Rows = Sequence[Row[Any]]
# A table, its key, the columns shown, the size of a vector, and whether a row is left out.
_Statement = tuple[Table, Column[Any], tuple[Column[Any], ...], int, bool]


async def nearest(
    database: Database,
    table: Table,
    key: Column[Any],
    shown: tuple[Column[Any], ...],
    place: Place,
    probe: Vector,
    *,
    model: str,
    min_cosine: float,
    limit: int,
    leave_out: object | None = None,
    by_index: bool = True,
    memory: VectorMemory | None = None,
) -> Rows:
    """Rows with the columns `shown` and `distance`, the negative cosine: best first, equals by their key.

    Args:
        table: `faces` or `users`.
        key: one of the columns shown; it names a row within its collection.
        model: FaceModelVersion of the probe. In a collection of another one nothing is like it, also if
            the collection's vectors were switched only a moment ago.
        leave_out: the key of a row that is no answer.
        by_index: an index may miss some; without it the search is always exact.
        memory: what this process holds of the collection names candidates, where it does.
    """
    wanted = {
        "account": place[0],
        "collection": place[1],
        "model": model,
        "probe": probe,
        "most_distance": most_distance(min_cosine),
        "most": limit,
        **({} if leave_out is None else {"left_out": leave_out}),
    }
    statement = (table, key, shown, len(probe), leave_out is not None)
    held = None if memory is None else memory.of(table, place, len(probe))
    if memory is not None and held is not None:
        answers = await _by_memory(database, memory, held, statement, wanted)
        if answers is not None:
            return answers
    if by_index:
        index = {"index": name_of(table.name, place, len(probe))}
        async with database.reading() as reader:
            rows = await _rows_of(reader, _exact_unless_indexed(*statement), {**wanted, **index})
        if not rows or getattr(rows[-1], key.name) is not None:
            return rows
        found = await _by_index(database, _indexed(*statement), wanted, limit, rows[-1].distance)
        if found is not None:
            return found
    async with database.reading() as reader:
        return await _rows_of(reader, _exact(*statement), wanted)


async def _by_memory(
    database: Database, memory: VectorMemory, held: Held, statement: _Statement, wanted: Mapping[str, Any]
) -> Rows | None:
    """What the candidates hold that this process knows; None if that may miss an answer, or costs more."""
    least, most = -wanted["most_distance"], wanted["most"] + ("left_out" in wanted)
    candidates = await held.candidates(wanted["probe"], least, most)
    named = len(candidates.ids)
    if named > max(MOST_CANDIDATES, _COMPARED_SHARE * held.count):
        return None
    values = {**wanted, "snapshot": held.snapshot, "candidates": candidates.ids}
    async with database.reading() as reader:
        rows = await _rows_of(reader, _by_candidates(*statement), values)
    answers, counts = rows[:-1], rows[-1]
    if counts.server != held.server:
        memory.forget(held)
        return None
    gone = named - counts.present
    is_sure = gone <= candidates.spare and len(answers) <= candidates.trusted
    memory.note(held, gone=gone / max(1, named) if gone <= candidates.spare else 1.0, fresh=counts.fresh)
    return answers if is_sure else None


async def _by_index(
    database: Database, query: Select[Any], wanted: Mapping[str, Any], limit: int, indexed: float
) -> Rows | None:
    """What an index of so many rows finds; None for more answers than it is trusted with."""
    enough = max(math.ceil(limit / _TRUSTED / _TAKEN), round(indexed / _ROWS_OF_A_CANDIDATE))
    candidates = min(MOST_CANDIDATES, max(LEAST_CANDIDATES, enough))
    taken = math.floor(_TAKEN * candidates)
    trusted = math.floor(_TRUSTED * taken)
    most = {"taken": taken, "most": min(limit, trusted + 1)}
    async with database.session() as session:
        await session.execute(_PREPARE, {"candidates": str(candidates)})
        found = await _rows_of(session, query, {**wanted, **most})
    return found if len(found) <= trusted else None


async def _rows_of(reader: AsyncConnection, query: Executable, values: Mapping[str, Any]) -> Rows:
    found: Rows = (await reader.execute(query, values)).all()
    return found


@lru_cache
def _exact(
    table: Table, key: Column[Any], shown: tuple[Column[Any], ...], size: int, leaves_out: bool
) -> Select[Any]:
    """Compares every vector. Built once, a statement costs half."""
    distance = distance_to(table.c.embedding, "probe", size)
    return _best(_rows(table, shown).add_columns(distance.label("distance")), distance, key, leaves_out)


@lru_cache
def _exact_unless_indexed(
    table: Table, key: Column[Any], shown: tuple[Column[Any], ...], size: int, leaves_out: bool
) -> CompoundSelect[Any]:
    """The same; where there is an index, one row without a key whose distance is how many rows that has."""
    compared = _exact(table, key, shown, size, leaves_out).where(_UNLESS_INDEXED).subquery()
    indexed = (
        select(*(null().label(column.name) for column in shown), literal_column("reltuples::float8"))
        .select_from(_PLACE_OF_INDEX)
        .where(_IS_VALID)
    )
    return union_all(select(compared), indexed)


@lru_cache
def _indexed(
    table: Table, key: Column[Any], shown: tuple[Column[Any], ...], size: int, leaves_out: bool
) -> Select[Any]:
    """Compares candidates, which an index of vectors of this size finds."""
    embedding: Column[list[float]] = table.c.embedding
    distance = distance_to(sized(embedding, size), "probe", size)
    nearby = (
        _rows(table, shown)
        .add_columns(distance.label("distance"))
        .where(has_size(embedding, size))
        .order_by(distance)
        .limit(bindparam("taken"))
        .subquery()
    ).c
    return _best(select(*nearby), nearby.distance, nearby[key.name], leaves_out)


@lru_cache
def _by_candidates(
    table: Table, key: Column[Any], shown: tuple[Column[Any], ...], size: int, leaves_out: bool
) -> CompoundSelect[Any]:
    """Compares rows of these keys and all that came since a snapshot.

    The last row has no key; it counts those that are as they were then, `present`, and the others, `fresh`.
    """
    distance = distance_to(table.c.embedding, "probe", size).label("distance")
    rows = _rows(table, shown)
    among = bindparam("candidates", type_=Uuids() if isinstance(key.type, Uuid) else ARRAY(key.type))
    # One whose vector changed since took its place among the candidates by the old one.
    changed = func.coalesce(not_in(bindparam("snapshot"), table), false()).label("is_fresh")
    named = rows.add_columns(distance, changed).where(key == any_(among))
    came = rows.add_columns(distance, literal_column("true")).where(
        not_in(bindparam("snapshot"), table), key != all_(among)
    )
    near = union_all(named, came).cte("near")
    names = [column.name for column in shown]
    answers = _best(
        select(*(near.c[name] for name in names), near.c.distance),
        near.c.distance,
        near.c[key.name],
        leaves_out,
    ).subquery()
    fresh = near.c.is_fresh
    counts = select(
        *(null() for _ in names),
        null(),
        func.count().filter(~fresh).label("present"),
        func.count().filter(fresh).label("fresh"),
        server().label("server"),
    ).select_from(near)
    return union_all(
        select(*answers.c, null().label("present"), null().label("fresh"), null().label("server")), counts
    )


def _rows(table: Table, shown: tuple[Column[Any], ...]) -> Select[Any]:
    return select(*shown).where(
        table.c.account_id == bindparam("account"),
        table.c.collection_id == bindparam("collection"),
        table.c.embedding.is_not(None),
        _IS_OF_MODEL,
    )


def _best(
    found: Select[Any], distance: ColumnElement[float], key: ColumnElement[Any], leaves_out: bool
) -> Select[Any]:
    answers = found.where(distance <= bindparam("most_distance"))
    answers = answers.order_by(distance, key).limit(bindparam("most"))
    return answers.where(key != bindparam("left_out")) if leaves_out else answers
