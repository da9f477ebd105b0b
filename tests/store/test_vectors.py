"""A probe reaches the database as it would by pgvector's own type."""

import numpy as np
from pgvector import HalfVector

from app.store.vectors import _text_of


def test_a_probe_is_written_exactly() -> None:
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)  # all that are not negative, and finite
    for values in (every, -every, np.random.default_rng(4).normal(size=512) / 22):
        probe = values.astype(np.float32)
        read = np.array([float(part) for part in _text_of(probe)[1:-1].split(",")], np.float16)
        np.testing.assert_array_equal(read, HalfVector(probe).to_numpy())
