"""The one module that decides where an image's bytes come from."""

import time
from collections.abc import AsyncIterator

from app.domain import ImageSource, InlineImage, S3Image, SupabaseImage
from app.errors import ImageTooLargeException, InvalidImageUrlException
from app.images.links import direct
from app.images.s3 import S3Reader
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.metrics import Metrics


class ImageSources:
    """Fetches the bytes of an image from wherever its source says."""

    def __init__(self, urls: UrlFetcher, s3: S3Reader, supabase: SupabaseReader, metrics: Metrics) -> None:
        self._urls = urls
        self._supabase = supabase
        self._s3 = s3
        self._metrics = metrics

    async def fetch(self, source: ImageSource, max_bytes: int) -> bytes:
        """The bytes, at most `max_bytes`.

        Raises:
            ImageTooLargeException: the image is larger.
            InvalidS3ObjectException, InvalidSupabaseObjectException, InvalidImageUrlException,
            ServiceUnavailableError: as its source says.
        """
        if isinstance(source, InlineImage):
            if len(source.data) > max_bytes:
                raise ImageTooLargeException
            return source.data
        began = time.perf_counter()
        try:
            if isinstance(source, S3Image):
                return await self._s3.fetch(source, max_bytes)
            if isinstance(source, SupabaseImage):
                return await self._supabase.fetch(source, max_bytes)
            return await self._from_web(source.url, max_bytes)
        finally:
            self._metrics.stage_seconds.labels("fetch").observe(time.perf_counter() - began)

    def confirm_listable(self, prefix: S3Image | SupabaseImage) -> None:
        """Raise what listing would, as far as no storage need be asked; the key is the beginning of keys."""
        if isinstance(prefix, S3Image):
            self._s3.confirm_listable(prefix.account_id, prefix.bucket, prefix.key)
        else:
            self._supabase.confirm_listable(prefix)

    async def beginning_with(self, prefix: S3Image | SupabaseImage) -> AsyncIterator[S3Image | SupabaseImage]:
        """Every object whose key or path begins with that of `prefix`.

        Raises:
            InvalidS3ObjectException, InvalidSupabaseObjectException, ServiceUnavailableError.
        """
        if isinstance(prefix, S3Image):
            async for key in self._s3.keys(prefix.account_id, prefix.bucket, prefix.key):
                yield S3Image(prefix.account_id, prefix.bucket, key)
        else:
            async for path in self._supabase.paths(prefix):
                yield SupabaseImage(prefix.account_id, prefix.bucket, path)

    async def _from_web(self, url: str, max_bytes: int) -> bytes:
        wanted = direct(url)
        data = await self._urls.fetch(wanted, max_bytes)
        if wanted != url and data[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise InvalidImageUrlException(
                "The link leads to a page, not to a photo: share it with everybody who has the link",
                reason="ImageUrlNotShared",
            )
        return data
