"""The one module that decides where an image's bytes come from."""

import time

from app.domain import ImageSource, InlineImage, S3Image
from app.errors import ImageTooLargeException
from app.images.s3 import S3Reader
from app.images.url import UrlFetcher
from app.metrics import Metrics


class ImageSources:
    """Fetches the bytes of an image from wherever its source says."""

    def __init__(self, urls: UrlFetcher, s3: S3Reader, metrics: Metrics) -> None:
        self._urls = urls
        self._s3 = s3
        self._metrics = metrics

    async def fetch(self, source: ImageSource, max_bytes: int) -> bytes:
        """The bytes, at most `max_bytes`.

        Raises:
            ImageTooLargeException: the image is larger.
            InvalidS3ObjectException, InvalidImageUrlException, ServiceUnavailableError: as its
                source says.
        """
        if isinstance(source, InlineImage):
            if len(source.data) > max_bytes:
                raise ImageTooLargeException
            return source.data
        began = time.perf_counter()
        try:
            if isinstance(source, S3Image):
                return await self._s3.fetch(source, max_bytes)
            return await self._urls.fetch(source.url, max_bytes)
        finally:
            self._metrics.stage_seconds.labels("fetch").observe(time.perf_counter() - began)
