"""A worker's work on index jobs: lists, embeds, switches. Any worker may take a job over."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import PurePosixPath
from uuid import UUID, uuid4

from app.domain import Embed, Face, ImageInput, ImageLimits, Look, S3Image, StoredFace, SupabaseImage
from app.errors import (
    InvalidParameterException,
    ServiceError,
    ServiceUnavailableError,
    StorageUnavailableError,
    ThrottlingException,
)
from app.images.sources import ImageSources
from app.service.analysis import Analyser
from app.service.ids import USER_ID_MAX, public_id
from app.service.photos import reference_of, source_of
from app.service.recognition import MOST_FACES, ONE_PERSON, SAME_FACE_IOU, embedding_of
from app.service.savings import Savings
from app.service.users import MAX_FACES_A_USER
from app.service.vector_indexes import VectorIndexes
from app.store import albums as album_store
from app.store import collections as collection_store
from app.store import index_jobs as store
from app.store import index_switch, queue
from app.store.database import Database
from app.store.index_jobs import Item, Job, Result
from app.store.queue import Claim

log = logging.getLogger(__name__)

_BATCH = 500
_STORAGE_TRIES = 4
_BUSY_S = 0.3
# On a busy machine an index took 11 vectors a second; workers' statements may last 600 seconds.
_MOST_THROUGH_AN_INDEX = 2000
_PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"})


class IndexRunner:
    """Works on index jobs.

    Args:
        face_model_version: of the model that runs; jobs for another are left to those who run it.
        limits: what is accepted as an image.
        at_once: how many photos are worked on at the same time.
    """

    def __init__(
        self,
        database: Database,
        sources: ImageSources,
        analyser: Analyser,
        face_model_version: str,
        limits: ImageLimits,
        at_once: int,
        savings: Savings,
        indexes: VectorIndexes,
    ) -> None:
        self._database = database
        self._sources = sources
        self._analyser = analyser
        self._face_model_version = face_model_version
        self._limits = limits
        self._at_once = at_once
        self._savings = savings
        self._indexes = indexes

    async def work(self, claim: Claim) -> None:
        """Work on some of a job; what is left of it waits for its next turn, behind others.

        Raises:
            ServiceUnavailableError: the database can't be reached.
        """
        async with self._database.session() as session:
            job = await store.begin(session, UUID(claim.subject), self._face_model_version)
            if job is None:
                await queue.finish(session, claim)
                return
        try:
            await self._work_on(job)
        except ServiceUnavailableError:
            raise  # the database: the job waits for it
        except Exception:  # of this job alone: it must not keep the others waiting
            log.exception("an index job failed in a way that nobody foresaw")
            await self._finish(job, "failed", "InternalError")
        async with self._database.session() as session:
            await queue.give_back(session, claim)

    async def _work_on(self, job: Job) -> None:
        if not job.listed:
            await self._list_patiently(job)
        elif not await self._embed_some(job):
            await self._switch(job)

    async def _list_patiently(self, job: Job) -> None:
        for tried in range(1, _STORAGE_TRIES + 1):
            try:
                await self._list(job)
                return
            except StorageUnavailableError as error:
                if tried == _STORAGE_TRIES:
                    await self._finish(job, "failed", error.reason or error.code)
                    return
                await asyncio.sleep(2**tried)
            except ServiceUnavailableError:
                raise
            except ServiceError as error:
                await self._finish(job, "failed", error.reason or error.code)
                return

    async def _list(self, job: Job) -> None:
        """Enter the photos of a job; a listing that was cut off begins anew."""
        async with self._database.session() as session:
            await store.clear_items(session, job.job_id)
        if job.prefix is not None:
            await self._list_prefix(job)
        # Faces of a collection are found as those that have no item yet.
        async with self._database.session() as session:
            await store.mark_listed(session, job.job_id)

    async def _list_prefix(self, job: Job) -> None:
        assert job.prefix is not None
        prefix = source_of(job.prefix, job.account_id)
        assert isinstance(prefix, S3Image | SupabaseImage)
        number, items = 0, []
        async for listed in self._sources.entries(prefix):
            photo = listed.source
            path = PurePosixPath(photo.key if isinstance(photo, S3Image) else photo.path)
            if path.suffix.lower() not in _PHOTOS or path.name.startswith("."):
                continue
            name = path.stem if job.member_id_from == "filename" else path.parent.name
            try:
                user = public_id(name, "member_id", USER_ID_MAX)
            except InvalidParameterException:
                continue  # a photo that lies in no folder names nobody
            items.append(Item(number, user.safe, user.original, reference_of(photo), uuid4()))
            number += 1
            if len(items) == _BATCH:
                await self._add(job, items)
                items = []
        await self._add(job, items)

    async def _add(self, job: Job, items: Sequence[Item]) -> None:
        async with self._database.session() as session:
            await store.add_items(session, job.job_id, items)

    async def _embed_some(self, job: Job) -> bool:
        """Work on some photos; False when there are none left. Then it is another job's turn."""
        async with self._database.session() as session:
            items = await store.pending(session, job.job_id, _BATCH)
        by_photo: dict[str, list[Item]] = {}
        for item in items:
            by_photo.setdefault(item.photo or "", []).append(item)
        turns = asyncio.Semaphore(self._at_once)
        tasks = [
            asyncio.create_task(self._in_turn(turns, job, photo, some)) for photo, some in by_photo.items()
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return bool(items)

    async def _in_turn(self, turns: asyncio.Semaphore, job: Job, photo: str, items: Sequence[Item]) -> None:
        async with turns:
            await self._embed(job, photo, items)

    async def _embed(self, job: Job, photo: str, items: Sequence[Item]) -> None:
        """Find the faces of one photo that its items stand for."""
        image = ImageInput(source_of(photo, job.account_id), self._limits)
        look = Look(Embed.ALL, MOST_FACES) if job.kind == "reembed" else ONE_PERSON
        try:
            found = await self._patiently(image, look)
        except ServiceError as error:
            await self._fail(job, items, error.reason or error.code)
            return
        except Exception:  # of this photo alone
            log.exception("a photo of an index job failed in a way that nobody foresaw")
            await self._fail(job, items, "InternalError")
            return
        self._savings.count(job.account_id, "IndexFaces")
        image_id, faces = found
        results, missing = [], []
        for item in items:
            face = _face_for(item, faces)
            if face is None:
                missing.append(item.item)
            else:
                results.append(Result(item.item, image_id, face.box, face.confidence, embedding_of(face)))
        async with self._database.session() as session:
            await store.finish_items(session, job.job_id, results)
            if missing:
                await store.fail_items(session, job.job_id, missing, "NoFaceFound")

    async def _fail(self, job: Job, items: Sequence[Item], reason: str) -> None:
        async with self._database.session() as session:
            await store.fail_items(session, job.job_id, [item.item for item in items], reason)

    async def _patiently(self, image: ImageInput, look: Look) -> tuple[UUID, list[Face]]:
        """Analyse an image; requests of people go first, and a storage gets some more chances."""
        tries = 0
        while True:
            try:
                found = await self._analyser.analyse(image, look)
                return found.image_id, [face for face in found.faces if face.embedding is not None]
            except ThrottlingException:
                await asyncio.sleep(_BUSY_S)
            except StorageUnavailableError:
                tries += 1
                if tries == _STORAGE_TRIES:
                    raise
                await asyncio.sleep(2**tries)

    async def _switch(self, job: Job) -> None:
        """Put everything that was made in place at once, unless there is more to embed before."""
        await self._make_way(job)
        async with self._database.session() as session:
            # Nobody stores or deletes while the vectors change places.
            model = await collection_store.lock(session, job.account_id, job.collection_id)
            if model is None or not await store.is_active(session, job.job_id):
                return  # deleted with its collection, or ended by another runner
            if job.kind == "reembed":
                new = await store.faces_without_item(session, job, _BATCH)
                if new:
                    first = await store.next_number(session, job.job_id)
                    items = [_item_of(face, first + rank) for rank, face in enumerate(new)]
                    await store.add_items(session, job.job_id, items)
                    return
                other_model = model != job.face_model_version
                if other_model and not job.allow_missing and await store.any_failed(session, job.job_id):
                    await store.finish(session, job.job_id, "failed", "PhotosMissing")
                    return
                await index_switch.switch_reembedded(session, job, drop_others=other_model)
                place = (job.account_id, job.collection_id)
                await queue.change_model(session, place, model, job.face_model_version)
                album = await album_store.find(session, place)
                if album is not None:
                    lane = queue.tasks_lane(job.face_model_version)
                    await queue.put(session, lane, "rematch", [str(album.album_key)], place)
            else:
                await index_switch.switch_photos(session, job, MAX_FACES_A_USER)
            await store.finish(session, job.job_id, "succeeded")

    async def _make_way(self, job: Job) -> None:
        """Take an index away that would take longer, vector by vector, than a statement may."""
        async with self._database.session() as session:
            items = await store.next_number(session, job.job_id)
        if job.kind == "reembed" or items > _MOST_THROUGH_AN_INDEX:
            await self._indexes.take_away((job.account_id, job.collection_id))

    async def _finish(self, job: Job, state: store.State, reason: str) -> None:
        async with self._database.session() as session:
            if await store.is_active(session, job.job_id):  # else another runner has ended it
                await store.finish(session, job.job_id, state, reason)


def _item_of(face: StoredFace, number: int) -> Item:
    return Item(number, face.user_id, None, face.photo, face.face_id, face.box)


def _face_for(item: Item, faces: Sequence[Face]) -> Face | None:
    """The face that an item means: the one in its place, or the largest."""
    if not faces:
        return None
    if item.box is None:
        return faces[0]
    place = item.box
    best = max(faces, key=lambda face: face.box.iou(place))
    return best if best.box.iou(place) >= SAME_FACE_IOU else None
