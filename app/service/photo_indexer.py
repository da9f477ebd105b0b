"""A worker's work on one photo of an album: fetch, find faces, thumbnail, match, and one commit."""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

from app.domain import (
    Embed,
    Face,
    FetchedObject,
    ImageLimits,
    Look,
    PublicId,
    StoredFace,
    StoredImage,
)
from app.engine.pipeline import Pipeline
from app.engine.pool import InferencePool
from app.engine.shrink import shrunk
from app.engine.similarity import SimilarityCurve
from app.errors import (
    PhotoNotFound,
    ServiceError,
    ServiceUnavailableError,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.decode import EncodedPicture
from app.images.recompress import webp
from app.images.sources import ImageSources
from app.images.storage import PhotoStorage
from app.metrics import Metrics
from app.service.album_photos import GONE, thumbnail_key
from app.service.ids import EXTERNAL_IMAGE_ID_MAX, image_id, public_id
from app.service.photos import source_of
from app.service.recognition import embedding_of
from app.service.savings import Savings
from app.store import albums as album_store
from app.store import collections as collection_store
from app.store import faces as face_store
from app.store import matches, queue
from app.store import photos as store
from app.store.albums import Album
from app.store.database import Database
from app.store.photos import Photo
from app.store.queue import Claim

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 300.0
LOST = "WorkerLost"
THUMBNAIL_SIDE_PX = 480


class LeaseLostError(Exception):
    """Another worker has the job now, or nobody needs it: what was made of it is thrown away."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a photo shows."""

    image_id: UUID
    faces: Sequence[Face]
    width: int
    height: int
    thumbnail: bytes


class PhotoIndexer:
    """Indexes photos of albums. What a photo's row says and what the queue says commit together.

    Args:
        fingerprint: of the model and the settings that find faces.
        max_faces: how many of a photo's largest faces are kept.
        attempts: how often a photo is tried.
    """

    def __init__(
        self,
        database: Database,
        sources: ImageSources,
        storage: PhotoStorage,
        pipeline: Pipeline,
        pool: InferencePool,
        curve: SimilarityCurve,
        limits: ImageLimits,
        metrics: Metrics,
        savings: Savings,
        *,
        fingerprint: str,
        max_faces: int,
        attempts: int,
    ) -> None:
        self._database = database
        self._sources = sources
        self._storage = storage
        self._pipeline = pipeline
        self._face_model_version = pipeline.pack.face_model_version
        self._pool = pool
        self._curve = curve
        self._limits = limits
        self._metrics = metrics
        self._savings = savings
        self._fingerprint = fingerprint
        self._look = Look(Embed.ALL, max_faces)
        self._attempts = attempts

    async def work(self, claim: Claim) -> None:
        """Bring a photo to its end, or queue it for another try.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        async with self._database.session() as session:
            photo = await store.get(session, UUID(claim.subject))
            album = None if photo is None else await album_store.find(session, _place(photo))
            if photo is None or album is None:
                await queue.finish(session, claim)
                return
        if claim.attempts > self._attempts:
            await self._end(claim, photo, album, "failed", LOST)  # it took its workers with it, each time
            return
        try:
            await self._index(claim, photo, album)
        except LeaseLostError:
            await self._clean_up(album, photo)
        except PhotoNotFound:
            await self._end(claim, photo, album, "skipped", GONE)
        except (StorageUnavailableError, ThrottlingException) as error:
            await self._later(claim, photo, album, error.reason or error.code)
        except ServiceUnavailableError:
            raise  # the database
        except ServiceError as error:
            await self._end(claim, photo, album, "failed", error.reason or error.code)
        except Exception:  # of this photo alone: it must not stop the worker
            log.exception("a photo failed in a way that nobody foresaw")
            await self._later(claim, photo, album, "InternalError")

    async def _index(self, claim: Claim, photo: Photo, album: Album) -> None:
        current = photo.indexed_version if photo.fingerprint == self._fingerprint else None
        source = source_of(photo.place, photo.account_id)
        fetched = await self._sources.fetch_unless(source, self._limits.max_bytes, current)
        if fetched is not None and isinstance(source, StoredImage):
            # Uploads are told apart by what they hold.
            fetched = replace(fetched, version=photo.version or fetched.version)
        if fetched is None or (current is not None and fetched.version == current):
            async with self._database.session() as session:
                await store.lock(session, photo.photo_id)
                if not await queue.finish(session, claim):
                    raise LeaseLostError
                await store.finish(session, photo.photo_id, "done", {"version": current, "reason": None})
            self._metrics.photos_finished.labels("unchanged").inc()
            return
        seen = await self._pool.run(lambda: self._see(fetched.data))
        self._savings.count(photo.account_id, "IndexFaces")
        await self._storage.write(thumbnail_key(album, photo.photo_id), seen.thumbnail, "image/webp")
        await self._commit(claim, photo, album, fetched, seen)
        self._metrics.photos_finished.labels("done").inc()
        self._metrics.faces_indexed.inc(len(seen.faces))

    def _see(self, data: bytes) -> _Seen:
        picture = EncodedPicture(data, self._limits)
        found = self._pipeline.analyse(picture, self._look)
        with self._metrics.stage("thumbnail"):
            small = picture.pixels(THUMBNAIL_SIDE_PX)
            if max(small.shape[:2]) > THUMBNAIL_SIDE_PX:
                small = shrunk(small, THUMBNAIL_SIDE_PX)
            encoded = webp(small)
        return _Seen(image_id(data), found, *picture.size, encoded)

    async def _commit(
        self, claim: Claim, photo: Photo, album: Album, fetched: FetchedObject, seen: _Seen
    ) -> None:
        """Everything that the photo brought, or nothing of it."""
        place = album.place
        external = _external(photo.name)
        new = [
            face_store.NewFace(
                _stored(face, seen.image_id, external, photo.place), embedding_of(face), photo.photo_id
            )
            for face in seen.faces
        ]
        with self._metrics.stage("store"):
            async with self._database.session() as session:
                kept = await collection_store.find(session, *place, keep=True)
                await album_store.keep_apart(session, place, guests=False)
                await store.lock(session, photo.photo_id)
                # A collection that changed its model meanwhile has left its jobs to others already.
                of_model = kept is not None and kept.face_model_version == self._face_model_version
                if not of_model or not await queue.finish(session, claim):
                    raise LeaseLostError
                await face_store.erase_of_photo(session, *place, photo.photo_id)
                await face_store.add(session, *place, new)
                if new:
                    least = self._curve.cosine(await album_store.threshold_of(session, place))
                    await matches.match_photo(session, place, photo.photo_id, least)
                await store.finish(
                    session,
                    photo.photo_id,
                    "done",
                    {
                        "version": fetched.version,
                        "indexed_version": fetched.version,
                        "fingerprint": self._fingerprint,
                        "reason": None,
                        "attempts": claim.attempts,
                        "faces": len(new),
                        "width": seen.width,
                        "height": seen.height,
                        "thumbnail": True,
                    },
                )

    async def _end(self, claim: Claim, photo: Photo, album: Album, state: store.State, reason: str) -> None:
        """No faces: the photo is gone, or can't be read. Those of an older version go too."""
        if photo.thumbnail:  # before the commit: nobody else has the photo in hand yet
            await self._storage.delete(thumbnail_key(album, photo.photo_id))
        async with self._database.session() as session:
            kept = await collection_store.find(session, *_place(photo), keep=True)
            await album_store.keep_apart(session, _place(photo), guests=False)
            await store.lock(session, photo.photo_id)
            if kept is None or not await queue.finish(session, claim):
                return
            await face_store.erase_of_photo(session, *_place(photo), photo.photo_id)
            values = {
                "reason": reason,
                "attempts": claim.attempts,
                "faces": 0,
                "indexed_version": None,
                "thumbnail": False,
            }
            await store.finish(session, photo.photo_id, state, values)
        self._metrics.photos_finished.labels(state).inc()

    async def _later(self, claim: Claim, photo: Photo, album: Album, reason: str) -> None:
        """Try again after a while that doubles, or give up."""
        if claim.attempts >= self._attempts:
            await self._end(claim, photo, album, "failed", reason)
            return
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (claim.attempts - 1))
        async with self._database.session() as session:
            await store.lock(session, photo.photo_id)
            if await queue.give_back(session, claim, timedelta(seconds=wait_s)):
                await store.note(session, photo.photo_id, claim.attempts, reason)
        self._metrics.photos_finished.labels("retried").inc()

    async def _clean_up(self, album: Album, photo: Photo) -> None:
        """Leave no thumbnail behind of a photo that was erased while it was in hand."""
        async with self._database.session() as session:
            found = await store.get(session, photo.photo_id)
            if found is not None and found.state != "skipped":
                return
        await self._storage.delete(thumbnail_key(album, photo.photo_id))


def _place(photo: Photo) -> tuple[str, str]:
    return photo.account_id, photo.album_id


def _external(name: str) -> PublicId:
    """A photo's name as an ExternalImageId. File systems allow more letters than those that are printed."""
    written = unicodedata.normalize("NFC", name)
    shown = "".join(letter if letter.isprintable() else " " for letter in written)
    return public_id(shown[-EXTERNAL_IMAGE_ID_MAX:], "name", EXTERNAL_IMAGE_ID_MAX)


def _stored(face: Face, image: UUID, external: PublicId, place: str) -> StoredFace:
    return StoredFace(uuid4(), image, external, None, face.box, face.confidence, place)
