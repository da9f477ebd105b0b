"""A collection as a process holds it in memory, and which of its rows may answer a search."""

import asyncio
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table

from app.domain import Vector
from app.store.codes import Codes, Vectors
from app.store.queue import Place

Ids = NDArray[np.uint8] | list[str]
"""Of faces as bytes, (n, 16), or of users."""
Key = tuple[Table, Place, int]
"""Whose vectors, and of which size."""

ALL = 1 << 30
# Exactly compared, so many more than are wanted are candidates: for rows that are gone.
_SPARE, _SPARE_SHARE = 16, 0.25
# Of projected vectors so many are candidates, 2.5 times as many as are wanted within these; an answer of more
# than half of them misses too many.
LEAST_PROJECTED, _MOST_PROJECTED, _PROJECTED_SHARE = 200, 1000, 2.5
# So many bytes are compared in half a millisecond, not worth another thread; and so many by one thread.
_COMPARED_AT_ONCE, _COMPARED_BY_ONE = 10_000_000, 60_000_000
# An addition that would make more of these, or is larger than what was read at once, is read again with it.
_MOST_BLOCKS = 16
# So many products are ranked in a tenth of a millisecond.
_CUT_AT_ONCE = 20_000
USER_ID_BYTES = 60
"""A short str takes some."""


@dataclass(frozen=True, slots=True)
class Block:
    """Ids of rows and, in the same order, their codes.

    Attributes:
        lost: the most that codes of projected vectors lack of their length.
    """

    ids: Ids
    codes: Codes
    lost: float = 0.0

    @property
    def nbytes(self) -> int:
        ids = len(self.ids) * USER_ID_BYTES if isinstance(self.ids, list) else self.ids.nbytes
        return self.codes.nbytes + ids


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that may answer a search.

    Attributes:
        spare: how many of them may be gone without another row being missed.
        trusted: how many of them may be answers.
    """

    ids: Ids
    spare: int
    trusted: int


@dataclass(frozen=True, slots=True)
class Held:
    """As a snapshot of PostgreSQL's saw a collection. It never changes; a newer one takes its place.

    Attributes:
        projection: (size, smaller size), where codes are of projected vectors: some answers may be missed.
        added: how many blocks at the end were read later than the first ones.
    """

    key: Key
    blocks: Sequence[Block]
    snapshot: str
    server: datetime
    read_at: float
    projection: Vectors | None = None
    added: int = 0

    @property
    def count(self) -> int:
        return sum(block.codes.count for block in self.blocks)

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self.blocks)

    @property
    def is_scattered(self) -> bool:
        """Whether so much was added that all had better be read again."""
        late = sum(block.codes.count for block in self.blocks[len(self.blocks) - self.added :])
        return self.added >= _MOST_BLOCKS or 2 * late > self.count

    def has_any(self, blocks: Sequence[Block]) -> bool:
        """Whether rows of other blocks are in these, too, with vectors that they had."""
        mine, others = [[_numbers(block.ids) for block in some] for some in (self.blocks, blocks)]
        return bool(others) and bool(np.isin(np.concatenate(mine), np.concatenate(others)).any())

    async def candidates(self, probe: Vector, min_cosine: float, wanted: int) -> Candidates:
        """For a search for the `wanted` nearest rows with this cosine or more."""
        is_whole = self.projection is None
        if self.projection is None:
            most, lost = math.ceil((1 + _SPARE_SHARE) * wanted) + _SPARE, 0.0
        else:
            most = min(_MOST_PROJECTED, max(LEAST_PROJECTED, math.ceil(_PROJECTED_SHARE * wanted)))
            projected = probe @ self.projection
            probe, lost = projected, lost_by(probe[None], projected[None])
        near = await self._near(probe, min_cosine, lost, None if is_whole else most + 1)
        count = sum(len(one.rows) for one in near)
        if count <= most:
            return Candidates(self._ids(near), ALL, ALL)
        # So many are surely as near as this; of projected vectors, so many have the largest products.
        margin = 2 * max(one.margin for one in near) if is_whole else 0.0
        if count <= _CUT_AT_ONCE:
            near = _nearest(near, most, margin)
        else:
            near = await asyncio.to_thread(_nearest, near, most, margin)
        ids = self._ids(near)
        return Candidates(ids, most - wanted, ALL) if is_whole else Candidates(ids, most // 2, most // 2)

    async def _near(self, probe: Vector, min_cosine: float, lost: float, most: int | None) -> "list[_Near]":
        found: dict[int, _Near] = {}
        turns = iter(range(len(self.blocks)))

        def take_turns() -> None:
            for turn in turns:
                found[turn] = _near(self.blocks[turn], probe, min_cosine, lost, most)

        if self.nbytes <= _COMPARED_AT_ONCE:
            take_turns()
        else:
            threads = min(os.cpu_count() or 1, math.ceil(self.nbytes / _COMPARED_BY_ONE))
            await asyncio.gather(*(asyncio.to_thread(take_turns) for _ in range(threads)))
        return [found[turn] for turn in range(len(self.blocks))]

    def _ids(self, near: "Sequence[_Near]") -> Ids:
        return together([_picked(block.ids, one.rows) for block, one in zip(self.blocks, near, strict=True)])


@dataclass(frozen=True, slots=True)
class _Near:
    """Rows of a block that may be near enough, with their products."""

    rows: NDArray[np.intp]
    products: NDArray[Any]
    margin: float


def _near(block: Block, probe: Vector, min_cosine: float, lost: float, most: int | None) -> _Near:
    compared = block.codes.compare(probe)
    rows = compared.rows_from(min_cosine - compared.margin - lost * block.lost, most)
    return _Near(rows, compared.products[rows] * compared.scale, compared.margin)


def _nearest(near: Sequence[_Near], most: int, margin: float) -> list[_Near]:
    products = np.concatenate([one.products for one in near])
    least = np.partition(products, len(products) - most)[len(products) - most] - margin
    return [replace(one, rows=one.rows[one.products >= least]) for one in near]


def _numbers(ids: Ids) -> NDArray[np.int64]:
    """Of each id; equal ones have the same, and others hardly ever."""
    if isinstance(ids, list):
        return np.fromiter(map(hash, ids), np.int64, len(ids))
    return np.ascontiguousarray(ids[:, 8:]).view(np.int64)[:, 0]


def lost_by(vectors: Vectors, projected: Vectors) -> float:
    """The most that is left of these vectors' length (n, size) outside of their projections.

    A cosine is more than the product of projections by at most the product of what both lost.
    """
    left = np.square(vectors).sum(axis=1) - np.square(projected).sum(axis=1)
    return math.sqrt(max(0.0, float(left.max())))


def together(ids: Sequence[Ids]) -> Ids:
    """Some after the others; all are of one kind."""
    if isinstance(ids[0], list):
        return [one for some in ids for one in some]
    return np.concatenate(ids)


def _picked(ids: Ids, rows: NDArray[np.intp]) -> Ids:
    return [ids[row] for row in rows] if isinstance(ids, list) else ids[rows]
