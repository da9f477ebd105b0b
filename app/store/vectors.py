"""Cosines in SQL: pgvector's negative inner product of unit vectors in half precision."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Column, ColumnElement, Dialect, Double, cast, func, literal, literal_column, true

from app.domain import Vector


class _Probe(HALFVEC):
    """A vector as a parameter, written five times as fast as pgvector's own type does it."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        return _text_of


def _text_of(probe: Vector) -> str:
    """As PostgreSQL reads a halfvec; five digits tell every number of half precision from its neighbours."""
    return "[" + ",".join([f"{value:.5g}" for value in probe.astype(np.float16).tolist()]) + "]"


def distance_to(embedding: ColumnElement[list[float]], probe: Vector) -> ColumnElement[float]:
    """The negative cosine of a column of unit vectors and a probe."""
    return embedding.op("<#>", return_type=Double())(literal(probe, _Probe(len(probe))))


def sized(embedding: Column[list[float]], size: int) -> ColumnElement[list[float]]:
    """A column of vectors as an index holds it: of one size, which the column itself does not have."""
    return cast(embedding, HALFVEC(size))


def has_size(embedding: Column[list[float]], size: int) -> ColumnElement[bool]:
    """Whether a vector is of a size; written into the statement, so that the planner knows it."""
    return func.vector_dims(embedding) == literal_column(str(int(size)))


def near(distance: ColumnElement[float], min_cosine: float) -> ColumnElement[bool]:
    """Whether a distance is that of the least cosine or better."""
    # Everything is near at -1: half precision may put opposite vectors a little beyond it.
    return true() if min_cosine <= -1 else distance <= -min_cosine


def cosine_of(distance: float) -> float:
    """The cosine that a distance stands for, -1..1."""
    return min(1.0, max(-1.0, -distance))  # half precision may overshoot by 1e-4
