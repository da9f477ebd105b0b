"""What no engine of the same networks can beat: decoding the photos and running them, nothing else."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from app.domain import Embed, Floats
from app.engine.model import Model
from app.engine.scaling import Blob
from app.measure.engine import LocalEngine

Given = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of what a network is given."""
Call = tuple[Model, Given]
"""A run of a network."""


def floor_seconds(photos: Sequence[Path], calls: Sequence[Sequence[Call]], threads: int) -> float:
    """How long plain decoding and the bare networks take for all photos, spread over threads."""
    random = np.random.default_rng(3)
    kinds = {given for each in calls for _, given in each}
    blobs = {given: _noise(random, *given) for given in kinds}

    def bare(photo: Path, each: Sequence[Call]) -> None:
        cv2.imread(str(photo))
        for model, given in each:
            model.infer(blobs[given])

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(bare, photos, calls))
        return time.perf_counter() - began


def _noise(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Blob:
    """Pixels as they are, or scaled."""
    if dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.uniform(-1, 1, shape).astype(np.float32)


def calls_of(engine: LocalEngine, photos: Sequence[Path], embed: Embed) -> list[list[Call]]:
    """What the engine runs for each photo."""
    found = []
    for photo in photos:
        with _recorded() as calls:
            engine.analyse_all([photo], embed)
        found.append(calls)
    return found


@contextmanager
def _recorded() -> Iterator[list[Call]]:
    calls: list[Call] = []
    infer = Model.infer

    def recording(model: Model, blob: Blob) -> list[Floats]:
        calls.append((model, (blob.shape, blob.dtype)))
        return infer(model, blob)

    with patch.object(Model, "infer", recording):
        yield calls
