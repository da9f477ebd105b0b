"""Rules of members: people with an id of their own. A member is a user of a collection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import (
    Caller,
    Embed,
    Face,
    ImageInput,
    Look,
    Member,
    Page,
    PublicId,
    StoredFace,
    Vector,
)
from app.engine.similarity import SimilarityCurve
from app.errors import (
    NoFaceFound,
    ResourceNotFoundException,
    ServiceError,
    ServiceQuotaExceededException,
)
from app.metrics import Metrics
from app.service.analysis import Analyser, Analysis
from app.service.collections import Collections
from app.service.ids import USER_ID_MAX, public_id
from app.service.metadata import patched
from app.service.photos import reference_of
from app.service.recognition import MOST_FACES, ONE_PERSON, SAME_FACE_IOU, cosine_of, embedding_of, largest_of
from app.service.savings import Savings
from app.service.users import MAX_FACES_A_USER
from app.store import collections as collection_store
from app.store import faces as face_store
from app.store import index_jobs
from app.store import users as user_store
from app.store.database import Database
from app.store.vector_memory import VectorMemory

DEFAULT_COLLECTION = "members"


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """`created`: the photo was not enrolled before."""

    face: StoredFace
    created: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`created`: the member is new. `enrolled` are the faces of the photos, `faces` all the member has."""

    user: PublicId
    created: bool
    enrolled: tuple[EnrolledFace, ...]
    faces: int


@dataclass(frozen=True, slots=True)
class MemberMatch:
    member_id: str
    user_id: str
    metadata: Mapping[str, Any]
    cosine: float
    similarity: float


@dataclass(frozen=True, slots=True)
class IdentifiedFace:
    face: Face
    matches: tuple[MemberMatch, ...]


@dataclass(frozen=True, slots=True)
class Identification:
    """The faces that were looked up, largest first, and the cosine that they had to reach."""

    threshold: float
    faces: tuple[IdentifiedFace, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cosine` is None when the member has no face."""

    verified: bool
    cosine: float | None
    similarity: float


class Members:
    """Enrolling, identifying and verifying members. Thresholds are cosines, -1..1.

    Args:
        fpir_target: the expected share of strangers that an automatic threshold lets through, 0..1.
    """

    def __init__(
        self,
        database: Database,
        memory: VectorMemory,
        collections: Collections,
        analyser: Analyser,
        curve: SimilarityCurve,
        fpir_target: float,
        metrics: Metrics,
        savings: Savings,
    ) -> None:
        self._database = database
        self._memory = memory
        self._collections = collections
        self._analyser = analyser
        self._curve = curve
        self._fpir_target = fpir_target
        self._metrics = metrics
        self._savings = savings

    async def enroll(
        self,
        caller: Caller,
        collection_id: str,
        member_id: str,
        images: Sequence[ImageInput],
        *,
        metadata: Mapping[str, Any] | None = None,
        replace: bool = False,
        subject: str | None = None,
    ) -> Enrolment:
        """Add the largest face of each image to a member, who is created when new.

        The collection `members` is made at its first use, any other must exist. The same image again
        changes nothing. With `replace` the member keeps no other face. `metadata` is merged into the
        member's own, and `subject` is the app user who is the member. All of it happens, or nothing.

        Raises:
            NoFaceFound: an image has no face.
            ServiceQuotaExceededException: the member would have more than 100 faces.
        """
        user = public_id(member_id, "member_id", USER_ID_MAX)
        self._collections.confirm_visible(caller, collection_id)
        if collection_id != DEFAULT_COLLECTION:
            await self._collections.confirm_searchable(caller, collection_id)
        names = [f"Image {number}" if len(images) > 1 else None for number in range(1, len(images) + 1)]
        found = [await self._largest(image, name) for image, name in zip(images, names, strict=True)]
        place = (caller.account_id, collection_id)
        async with self._database.session() as session:
            if collection_id == DEFAULT_COLLECTION:
                await collection_store.create(session, *place, self._collections.face_model_version)
            await self._collections.require_searchable(session, caller, collection_id, keep=True)
            created = await user_store.ensure(session, *place, user)
            if created:
                await index_jobs.remember_user(session, *place, user.safe)
            enrolled = []
            for image, (face, analysis) in zip(images, found, strict=True):
                known = await self._known(session, place, user, face, analysis)
                new = StoredFace(
                    uuid4(),
                    analysis.image_id,
                    user,
                    user.safe,
                    face.box,
                    face.confidence,
                    reference_of(image.source),
                )
                if known is None:
                    await face_store.add(session, *place, [face_store.NewFace(new, embedding_of(face))])
                enrolled.append(EnrolledFace(known or new, created=known is None))
            if replace:
                kept = [item.face.face_id for item in enrolled]
                await face_store.erase_of_user(session, *place, user.safe, keep=kept)
            count = await face_store.count_of_user(session, *place, user.safe)
            if count > MAX_FACES_A_USER:
                raise ServiceQuotaExceededException(f"A member has at most {MAX_FACES_A_USER} faces")
            if metadata:
                await self._merge(session, place, user, metadata)
            if subject is not None:
                await user_store.bind(session, *place, user.safe, subject)
            await user_store.refresh_vector(session, *place, user.safe)
        self._savings.count(caller.account_id, "IndexFaces", len(images))
        return Enrolment(user, created, tuple(enrolled), count)

    async def page(self, caller: Caller, collection_id: str, after: str | None, limit: int) -> Page[Member]:
        """Members in the order of their user ids; none of the default collection before its first use."""
        if await self._is_unused_default(caller, collection_id, searchable=False):
            return Page((), None)
        async with self._database.reading() as reader:
            return await user_store.members(reader, caller.account_id, collection_id, after, limit)

    async def get(
        self, caller: Caller, collection_id: str, member_id: str
    ) -> tuple[Member, Sequence[StoredFace]]:
        """A member and their faces; ResourceNotFoundException when there is none."""
        user = await self._named(caller, collection_id, member_id)
        place = (caller.account_id, collection_id)
        async with self._database.reading() as reader:
            found = await user_store.member(reader, *place, user.safe)
            if found is None:
                raise _unknown(member_id)
            faces = await face_store.page(
                reader, *place, after=None, limit=MAX_FACES_A_USER, user_id=user.safe
            )
            return found, faces.items

    async def update(
        self,
        caller: Caller,
        collection_id: str,
        member_id: str,
        *,
        metadata: Mapping[str, Any],
        subject: str | None = None,
    ) -> Member:
        """Merge metadata into a member's own: a key with null is removed (RFC 7396).

        `subject` binds the member to an app user; an empty one unbinds.

        Raises:
            ConflictException: the app user is another member.
        """
        user = await self._named(caller, collection_id, member_id)
        place = (caller.account_id, collection_id)
        async with self._database.session() as session:
            await self._merge(session, place, user, metadata)
            if subject is not None:
                await user_store.bind(session, *place, user.safe, subject or None)
            found = await user_store.member(session, *place, user.safe)
            if found is None:
                raise _unknown(member_id)
            return found

    async def erase(self, caller: Caller, collection_id: str, member_id: str) -> int:
        """Delete a member with every face, vector and photo reference; returns how many faces went."""
        user = await self._named(caller, collection_id, member_id)
        place = (caller.account_id, collection_id)
        async with self._database.session() as session:
            await self._collections.require(session, caller, collection_id, keep=True)
            await user_store.require(session, *place, user.safe, lock=True)
            faces = await face_store.erase_of_user(session, *place, user.safe)
            await user_store.remove(session, *place, user.safe)
            await index_jobs.forget_user(session, *place, user.safe)
        return faces

    async def is_subject(self, caller: Caller, collection_id: str, member_id: str) -> bool:
        """Whether a member is the app user who asks."""
        if caller.subject is None or not caller.sees(collection_id):
            return False
        user = public_id(member_id, "member_id", USER_ID_MAX)
        async with self._database.reading() as reader:
            bound = await user_store.subject_of(reader, caller.account_id, collection_id, user.safe)
        return bound == caller.subject

    async def identify(
        self,
        caller: Caller,
        collection_id: str,
        image: ImageInput,
        *,
        min_cosine: float | None,
        limit: int,
        every_face: bool = False,
    ) -> Identification:
        """The members most like the largest face of an image, or like each of its faces.

        A member is searched by the mean of their faces. Without `min_cosine` the threshold is the one at
        which a stranger is expected to be taken for any of the members with the target's probability.

        Raises:
            NoFaceFound: the image has no face.
        """
        empty = await self._is_unused_default(caller, collection_id)
        look = Look(Embed.ALL if every_face else Embed.LARGEST, MOST_FACES, alone=not every_face)
        analysis = await self._analyser.analyse(image, look)
        faces = [face for face in analysis.faces if face.embedding is not None]
        if not faces:
            raise NoFaceFound
        place = (caller.account_id, collection_id)
        if min_cosine is None:
            min_cosine = await self._expected_threshold(place, empty=empty)
        found = [
            IdentifiedFace(
                face, () if empty else await self._nearest(place, embedding_of(face), min_cosine, limit)
            )
            for face in faces
        ]
        # Once, also for every face: Rekognition charges by the image.
        self._savings.count(caller.account_id, "SearchUsersByImage")
        return Identification(min_cosine, tuple(found))

    async def verify(
        self,
        caller: Caller,
        collection_id: str,
        member_id: str,
        image: ImageInput,
        *,
        min_cosine: float,
    ) -> Verdict:
        """Whether the largest face of an image is a member.

        Raises:
            ResourceNotFoundException: no such member.
            NoFaceFound: the image has no face.
        """
        user = await self._named(caller, collection_id, member_id, searchable=True)
        place = (caller.account_id, collection_id)
        face, _ = await self._largest(image)
        async with self._database.reading() as reader:
            vector = await user_store.vector_of(reader, *place, user.safe)
        self._savings.count(caller.account_id, "CompareFaces")
        if vector is None:
            return Verdict(verified=False, cosine=None, similarity=0.0)
        cosine = cosine_of(embedding_of(face), vector)
        return Verdict(
            verified=cosine >= min_cosine,
            cosine=cosine,
            similarity=self._curve.similarity(cosine),
        )

    async def compare(self, caller: Caller, one: ImageInput, other: ImageInput) -> tuple[float, float]:
        """Cosine and Similarity of the largest faces of two images; NoFaceFound when one has none."""
        first, _ = await self._largest(one, "a")
        second, _ = await self._largest(other, "b")
        self._savings.count(caller.account_id, "CompareFaces")
        cosine = cosine_of(embedding_of(first), embedding_of(second))
        return cosine, self._curve.similarity(cosine)

    async def _largest(self, image: ImageInput, name: str | None = None) -> tuple[Face, Analysis]:
        """The largest face of an image; an error says which image it means, if that has a name."""
        try:
            return largest_of(await self._analyser.analyse(image, ONE_PERSON))
        except ServiceError as error:
            if name is not None:
                error.detail = f"{name}: {error.detail}"
            raise

    @staticmethod
    async def _known(
        session: AsyncConnection,
        place: tuple[str, str],
        user: PublicId,
        face: Face,
        analysis: Analysis,
    ) -> StoredFace | None:
        """The face that an earlier call stored for this member from the same image."""
        await face_store.lock_image(session, *place, analysis.image_id, user.safe)
        for stored in await face_store.of_image(session, *place, analysis.image_id, user.safe):
            if stored.user_id == user.safe and stored.box.iou(face.box) >= SAME_FACE_IOU:
                return stored
        return None

    @staticmethod
    async def _merge(
        session: AsyncConnection, place: tuple[str, str], user: PublicId, changes: Mapping[str, Any]
    ) -> None:
        kept = await user_store.metadata_of(session, *place, user.safe)
        if kept is None:
            raise _unknown(user.original)
        await user_store.set_metadata(session, *place, user.safe, patched(kept, changes))

    async def _expected_threshold(self, place: tuple[str, str], *, empty: bool) -> float:
        """Above which a stranger is expected to be taken for a member as rarely as the target says."""
        count = 0
        if not empty:
            async with self._database.reading() as reader:
                count = await user_store.count_with_faces(reader, *place)
        return self._curve.cosine_for_fpir(count, self._fpir_target)

    async def _nearest(
        self, place: tuple[str, str], probe: Vector, min_cosine: float, limit: int
    ) -> tuple[MemberMatch, ...]:
        with self._metrics.stage("search"):
            found = await user_store.nearest(
                self._database,
                *place,
                probe,
                model=self._collections.face_model_version,
                min_cosine=min_cosine,
                limit=limit,
                memory=self._memory,
            )
        self._metrics.searched(self._curve.similarity(found[0].cosine) if found else None)
        return tuple(
            MemberMatch(
                match.member_id,
                match.user_id,
                match.metadata,
                match.cosine,
                self._curve.similarity(match.cosine),
            )
            for match in found
        )

    async def _named(
        self, caller: Caller, collection_id: str, member_id: str, *, searchable: bool = False
    ) -> PublicId:
        """The user that a member is; ResourceNotFoundException when there is none."""
        user = public_id(member_id, "member_id", USER_ID_MAX)
        if await self._is_unused_default(caller, collection_id, searchable=searchable):
            raise _unknown(member_id)
        async with self._database.reading() as reader:
            if not await user_store.exists(reader, caller.account_id, collection_id, user.safe):
                raise _unknown(member_id)
        return user

    async def _is_unused_default(
        self, caller: Caller, collection_id: str, *, searchable: bool = True
    ) -> bool:
        """Whether this is the default collection before its first use; raises for others that lack."""
        self._collections.confirm_visible(caller, collection_id)
        async with self._database.reading() as reader:
            if collection_id == DEFAULT_COLLECTION:
                found = await collection_store.find(reader, caller.account_id, collection_id)
                if found is None:
                    return True
            if searchable:
                await self._collections.require_searchable(reader, caller, collection_id)
            else:
                await self._collections.require(reader, caller, collection_id)
            return False


def _unknown(member_id: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The member id: {member_id} does not exist")
