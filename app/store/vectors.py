"""Cosines in SQL: pgvector's negative inner product of unit vectors in half precision."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Column, ColumnElement, Dialect, Double, bindparam, cast, func, literal_column
from sqlalchemy.types import UserDefinedType

_UUID = psycopg.adapters.types["uuid"]


class _Bytes(psycopg.adapt.Dumper):
    """Sends a vector as bytes, without the type's number: the operator beside it says what it is."""

    format = psycopg.pq.Format.BINARY

    def dump(self, obj: HalfVector) -> bytes:
        return obj.to_binary()


psycopg.adapters.register_dumper(HalfVector, _Bytes)


class Uuids(UserDefinedType[NDArray[np.uint8]]):
    """A parameter of uuids as bytes, (n, 16); some hundred objects of Python's cost more than a search."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "uuid[]"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], "_UuidArray"]:
        return _UuidArray


class _UuidArray:
    """As PostgreSQL takes arrays."""

    def __init__(self, ids: NDArray[np.uint8]) -> None:
        rows = np.zeros((len(ids), 20), np.uint8)
        rows[:, 3] = 16
        rows[:, 4:] = ids
        dimensions = (len(ids), 1) if len(ids) else ()
        header = (len(dimensions) // 2, 0, _UUID.oid, *dimensions)
        self.sent = np.array(header, ">i4").tobytes() + rows.tobytes()


class _UuidArrayDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY
    oid = _UUID.array_oid

    def dump(self, obj: _UuidArray) -> bytes:
        return obj.sent


psycopg.adapters.register_dumper(_UuidArray, _UuidArrayDumper)


class Halfvec(HALFVEC):
    """Vectors in half precision; pgvector's own type sends them as text, which takes longer than a search."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], HalfVector | None]:
        return _halves


def _halves(vector: Any) -> HalfVector | None:
    """What a column takes: an array, what it gave, or nothing."""
    return vector if vector is None or isinstance(vector, HalfVector) else HalfVector(vector)


def distance_to(embedding: ColumnElement[list[float]], probe: str, size: int) -> ColumnElement[float]:
    """The negative cosine of a column of unit vectors and a probe, a parameter of this name and size."""
    return embedding.op("<#>", return_type=Double())(bindparam(probe, type_=Halfvec(size)))


def sized(embedding: Column[list[float]], size: int) -> ColumnElement[list[float]]:
    """A column of vectors as an index holds it: of one size, which the column itself does not have."""
    return cast(embedding, Halfvec(size))


def has_size(embedding: Column[list[float]], size: int) -> ColumnElement[bool]:
    """Whether a vector is of a size; written into the statement, so that the planner knows it."""
    return func.vector_dims(embedding) == literal_column(str(int(size)))


def most_distance(min_cosine: float) -> float:
    """The largest distance that is near enough; everything is near at -1."""
    # Half precision may put opposite vectors a little beyond it.
    return math.inf if min_cosine <= -1 else -min_cosine


def cosine_of(distance: float) -> float:
    """The cosine that a distance stands for, -1..1."""
    return min(1.0, max(-1.0, -distance))  # half precision may overshoot by 1e-4
