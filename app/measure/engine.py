"""The engine without a web server: photos through decode, detection and recognition on all cores."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from app.domain import Embed, Face, ImageFormat, ImageLimits, Look
from app.engine.pipeline import Pipeline
from app.images.decode import EncodedPicture
from app.metrics import Metrics
from app.resources import open_engine
from app.settings import Settings

LIMITS = ImageLimits(
    max_bytes=100_000_000, max_pixels=200_000_000, min_side_px=1, formats=frozenset(ImageFormat)
)
MAX_FACES = 10_000


ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class LocalEngine:
    """The engine as the service builds it; `settings` choose pack and threads."""

    def __init__(self, settings: Settings) -> None:
        # Nobody waits here: some items take longer than a client would.
        patient = settings.model_copy(update={"inference_deadline_seconds": 600.0})
        self.metrics = Metrics()
        self.pipeline, self._pool = open_engine(patient, self.metrics)
        self.threads = self._pool.threads

    def analyse_all(self, paths: Sequence[Path], embed: Embed) -> list[tuple[Face, ...]]:
        """The faces of every photo, on all threads of the pool."""
        return self.map(lambda path: analyse(self.pipeline, path.read_bytes(), embed), paths)

    def map(self, work: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> list[ResultT]:
        """`work` on every item, on all threads of the pool, in their order."""
        return asyncio.run(self._map(work, items))

    async def _map(self, work: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> list[ResultT]:
        turns = asyncio.Semaphore(2 * self.threads)

        async def one(item: ItemT) -> ResultT:
            async with turns:
                return await self._pool.run(lambda: work(item))

        return await asyncio.gather(*(one(item) for item in items))

    def close(self) -> None:
        self._pool.close()


def analyse(pipeline: Pipeline, data: bytes, embed: Embed, *, alone: bool = False) -> tuple[Face, ...]:
    """The faces of one photo, in this thread."""
    return pipeline.analyse(EncodedPicture(data, LIMITS), Look(embed, MAX_FACES, alone=alone))


def central(faces: Sequence[Face]) -> Face | None:
    """The face nearest the centre of the photo: that is whom LFW's name means."""
    return min(faces, key=_distance_from_centre, default=None)


def _distance_from_centre(face: Face) -> float:
    box = face.box
    return (box.left + box.width / 2 - 0.5) ** 2 + (box.top + box.height / 2 - 0.5) ** 2
