"""What the indexes of vectors are called: searches and builders have to agree."""

import hashlib

from app.store.queue import Place


def stem_of(table: str, place: Place) -> str:
    """The name of a collection's index, but for the size of its vectors.

    A hash: ids may be long, and this becomes part of statements.
    """
    return f"{table}_near_{hashlib.sha256('/'.join(place).encode()).hexdigest()[:32]}"


def name_of(table: str, place: Place, size: int) -> str:
    """The index of a collection for vectors of a size."""
    return f"{stem_of(table, place)}_{size}"
