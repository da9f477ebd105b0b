"""Rules of jobs that index members anew from storage: what is asked for, and what is answered."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from app.domain import Caller, ImageSource, S3Image, SupabaseImage, UrlImage
from app.errors import ConflictException, ResourceNotFoundException
from app.images.sources import ImageSources
from app.service.collections import Collections
from app.service.ids import USER_ID_MAX, public_id
from app.service.members import DEFAULT_COLLECTION
from app.service.photos import reference_of
from app.store import collections as collection_store
from app.store import index_jobs as store
from app.store.database import Database
from app.store.index_jobs import Failure, Item, Job, Progress

SHOWN_FAILURES = 100


class IndexJobs:
    """Enters jobs, which a runner of any replica takes up, and tells how far they are."""

    def __init__(self, database: Database, collections: Collections, sources: ImageSources) -> None:
        self._database = database
        self._collections = collections
        self._sources = sources

    async def of_photos(
        self, caller: Caller, collection_id: str, photos: Sequence[tuple[str, ImageSource]]
    ) -> UUID:
        """Enroll or refresh members from photos: pairs of a member id and where the photo lies."""
        items = []
        for number, (member_id, source) in enumerate(photos):
            user = public_id(member_id, "member_id", USER_ID_MAX)
            place = source.url if isinstance(source, UrlImage) else reference_of(source)
            items.append(Item(number, user.safe, user.original, place, uuid4()))
        return await self._enter(caller, self._job(caller, collection_id, "photos", listed=True), items)

    async def of_prefix(
        self, caller: Caller, collection_id: str, prefix: S3Image | SupabaseImage, member_id_from: str
    ) -> UUID:
        """The same from every photo of a storage whose path begins with a prefix."""
        self._sources.confirm_listable(prefix)
        job = self._job(
            caller,
            collection_id,
            "prefix",
            prefix=reference_of(prefix),
            member_id_from=member_id_from,
        )
        return await self._enter(caller, job, ())

    async def of_all_faces(self, caller: Caller, collection_id: str, *, allow_missing: bool) -> UUID:
        """Embed every face of a collection anew, with the model that runs now, from its photo."""
        job = self._job(caller, collection_id, "reembed", allow_missing=allow_missing)
        return await self._enter(caller, job, ())

    async def progress(self, caller: Caller, job_id: UUID) -> tuple[Progress, list[Failure]]:
        """How far a job is, and up to 100 of its failures."""
        async with self._database.reading() as reader:
            found = await store.find(reader, caller.account_id, job_id)
            if found is None or not caller.sees(found.collection_id):
                raise ResourceNotFoundException("There is no such job")
            place = (caller.account_id, found.collection_id)
            collection = await collection_store.find(reader, *place)
            if collection is not None and not caller.may_see_of(collection.owner):
                raise ResourceNotFoundException("There is no such job")
            return found, await store.failures(reader, job_id, SHOWN_FAILURES)

    def _job(
        self,
        caller: Caller,
        collection_id: str,
        kind: str,
        *,
        prefix: str | None = None,
        member_id_from: str | None = None,
        allow_missing: bool = False,
        listed: bool = False,
    ) -> Job:
        return Job(
            uuid4(),
            caller.account_id,
            collection_id,
            kind,
            prefix,
            member_id_from,
            allow_missing,
            self._collections.face_model_version,
            listed,
        )

    async def _enter(self, caller: Caller, job: Job, items: Sequence[Item]) -> UUID:
        async with self._database.session() as session:
            self._collections.confirm_visible(caller, job.collection_id)
            place = (job.account_id, job.collection_id)
            if job.collection_id == DEFAULT_COLLECTION:
                await collection_store.create(session, *place, job.face_model_version)
            if job.kind == "reembed":
                await self._collections.require(session, caller, job.collection_id, keep=True)
            else:
                await self._collections.require_searchable(session, caller, job.collection_id, keep=True)
            await store.end_of_other_models(session, *place, job.face_model_version)
            if not await store.create(session, job):
                raise ConflictException(
                    "The collection is being indexed by another job", reason="IndexInProgress"
                )
            await store.add_items(session, job.job_id, items)
        return job.job_id
