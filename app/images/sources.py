"""The one module that decides where an image's bytes come from."""

from collections.abc import AsyncIterator

from app.domain import (
    FetchedObject,
    FolderImage,
    ImageSource,
    InlineImage,
    ListedObject,
    Prefix,
    S3Image,
    StoredImage,
    SupabaseImage,
    UrlImage,
)
from app.errors import ImageTooLargeException, InvalidImageUrlException
from app.images.folders import FolderReader
from app.images.links import direct
from app.images.s3 import S3Reader
from app.images.storage import PhotoStorage
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.metrics import Metrics


class ImageSources:
    """Fetches the bytes of an image from wherever its source says."""

    def __init__(
        self,
        urls: UrlFetcher,
        s3: S3Reader,
        supabase: SupabaseReader,
        folders: FolderReader,
        storage: PhotoStorage,
        metrics: Metrics,
    ) -> None:
        self._urls = urls
        self._s3 = s3
        self._supabase = supabase
        self._folders = folders
        self._storage = storage
        self._metrics = metrics

    async def fetch(self, source: ImageSource, max_bytes: int) -> bytes:
        """The bytes, at most `max_bytes`.

        Raises:
            ImageTooLargeException: the image is larger.
            InvalidS3ObjectException, InvalidSupabaseObjectException, InvalidFolderObjectException,
            InvalidImageUrlException, PhotoNotFound, ServiceUnavailableError: as its source says.
        """
        if isinstance(source, InlineImage):
            if len(source.data) > max_bytes:
                raise ImageTooLargeException
            return source.data
        with self._metrics.stage("fetch"):
            if isinstance(source, S3Image):
                return await self._s3.fetch(source, max_bytes)
            if isinstance(source, SupabaseImage):
                return await self._supabase.fetch(source, max_bytes)
            if isinstance(source, FolderImage):
                return await self._folders.fetch(source, max_bytes)
            if isinstance(source, StoredImage):
                return (await self._storage.read(source.key, max_bytes)).data
            return await self._from_web(source.url, max_bytes)

    async def fetch_unless(
        self, source: ImageSource, max_bytes: int, version: str | None
    ) -> FetchedObject | None:
        """The bytes and their version, for workers; None while the object still has `version`.

        Raises:
            PhotoNotFound: the storage says that the object is not there.
            ValueError: the source is one that has no versions: an upload or a URL.
            ImageTooLargeException, InvalidS3ObjectException, InvalidSupabaseObjectException,
            InvalidFolderObjectException, ServiceUnavailableError: as fetching does.
        """
        if isinstance(source, InlineImage | UrlImage):
            raise ValueError("uploads and URLs have no versions")
        with self._metrics.stage("fetch"):
            if isinstance(source, S3Image):
                return await self._s3.fetch_unless(source, max_bytes, version)
            if isinstance(source, SupabaseImage):
                return await self._supabase.fetch_unless(source, max_bytes, version)
            if isinstance(source, FolderImage):
                return await self._folders.fetch_unless(source, max_bytes, version)
            return await self._storage.read_unless(source.key, max_bytes, version)

    def confirm_listable(self, prefix: Prefix) -> None:
        """Raise what listing would, as far as no storage need be asked; the key is the beginning of keys."""
        if isinstance(prefix, S3Image):
            self._s3.confirm_listable(prefix)
        elif isinstance(prefix, SupabaseImage):
            self._supabase.confirm_listable(prefix)
        else:
            self._folders.confirm_listable(prefix)

    def entries(self, prefix: Prefix) -> AsyncIterator[ListedObject]:
        """Every object whose key or path begins with that of `prefix`, page by page.

        Iterating raises:
            InvalidS3ObjectException, InvalidSupabaseObjectException, InvalidFolderObjectException,
            ServiceUnavailableError.
        """
        if isinstance(prefix, S3Image):
            return self._s3.entries(prefix)
        if isinstance(prefix, SupabaseImage):
            return self._supabase.entries(prefix)
        return self._folders.entries(prefix)

    async def _from_web(self, url: str, max_bytes: int) -> bytes:
        wanted = direct(url)
        data = await self._urls.fetch(wanted, max_bytes)
        if wanted != url and data[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise InvalidImageUrlException(
                "The link leads to a page, not to a photo: share it with everybody who has the link",
                reason="ImageUrlNotShared",
            )
        return data
