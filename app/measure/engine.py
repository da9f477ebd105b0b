"""The engine without a web server: photos through decode, detection and recognition on all cores."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.domain import Embed, Face, ImageFormat, ImageLimits
from app.engine.pipeline import Pipeline
from app.images.decode import decode
from app.metrics import Metrics
from app.resources import open_engine
from app.settings import Settings

LIMITS = ImageLimits(
    max_bytes=100_000_000, max_pixels=200_000_000, min_side_px=1, formats=frozenset(ImageFormat)
)
MAX_FACES = 10_000


class LocalEngine:
    """The engine as the service builds it; `settings` choose pack and threads."""

    def __init__(self, settings: Settings) -> None:
        self.pipeline, self._pool = open_engine(settings, Metrics())
        self.threads = self._pool.threads

    def analyse_all(self, paths: Sequence[Path], embed: Embed) -> list[tuple[Face, ...]]:
        """The faces of every photo, on all threads of the pool."""
        return asyncio.run(self._analyse_all(paths, embed))

    async def _analyse_all(self, paths: Sequence[Path], embed: Embed) -> list[tuple[Face, ...]]:
        turns = asyncio.Semaphore(2 * self.threads)

        async def one(path: Path) -> tuple[Face, ...]:
            async with turns:
                return await self._pool.run(lambda: analyse(self.pipeline, path.read_bytes(), embed))

        return await asyncio.gather(*(one(path) for path in paths))

    def close(self) -> None:
        self._pool.close()


def analyse(pipeline: Pipeline, data: bytes, embed: Embed) -> tuple[Face, ...]:
    """The faces of one photo, in this thread."""
    return pipeline.analyse(decode(data, LIMITS), embed, MAX_FACES)
