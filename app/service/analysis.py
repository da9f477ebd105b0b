"""Sources to faces: fetch, then decode, detect and embed in the inference pool."""

from dataclasses import dataclass
from uuid import UUID

from app.domain import Face, ImageInput, Look
from app.engine.pipeline import Pipeline
from app.engine.pool import InferencePool
from app.images.decode import EncodedPicture
from app.images.sources import ImageSources
from app.service.ids import image_id


@dataclass(frozen=True, slots=True)
class Analysis:
    """The faces of one image, largest first. `image_id` tells images apart by their bytes."""

    image_id: UUID
    faces: tuple[Face, ...]


class Analyser:
    """Finds faces in images. No database connection is held while it works."""

    def __init__(self, sources: ImageSources, pipeline: Pipeline, pool: InferencePool) -> None:
        self._sources = sources
        self._pipeline = pipeline
        self._pool = pool

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
            faces = self._pipeline.analyse(EncodedPicture(data, image.limits), look)
            return Analysis(image_id(data), faces)

        return await self._pool.run(work)
