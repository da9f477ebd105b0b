"""Sources to faces: fetch, then decode, detect and embed in the inference pool."""

from dataclasses import dataclass
from uuid import UUID

from app.domain import Face, ImageInput, ImageLimits, Look, Pixels
from app.engine.pipeline import Pipeline
from app.engine.pool import InferencePool
from app.images.decode import decode
from app.images.sources import ImageSources
from app.metrics import Metrics
from app.service.ids import image_id


@dataclass(frozen=True, slots=True)
class Analysis:
    """The faces of one image, largest first. `image_id` tells images apart by their bytes."""

    image_id: UUID
    faces: tuple[Face, ...]


class Analyser:
    """Finds faces in images. No database connection is held while it works."""

    def __init__(
        self, sources: ImageSources, pipeline: Pipeline, pool: InferencePool, metrics: Metrics
    ) -> None:
        self._sources = sources
        self._pipeline = pipeline
        self._pool = pool
        self._metrics = metrics

    async def analyse(
        self,
        image: ImageInput,
        look: Look,
    ) -> Analysis:
        """Fetch an image and find its faces.

        Raises:
            ServiceError: of fetching, decoding, or a full inference queue.
        """
        data = await self._sources.fetch(image.source, image.limits.max_bytes)

        def work() -> Analysis:
            pixels = self._decode(data, image.limits)
            faces = self._pipeline.analyse(pixels, look)
            return Analysis(image_id(data), faces)

        return await self._pool.run(work)

    def _decode(self, data: bytes, limits: ImageLimits) -> Pixels:
        with self._metrics.stage("decode"):
            return decode(data, limits)
