"""Rules of members: people with an id of their own. A member is a user of a collection."""

from dataclasses import dataclass
from uuid import uuid4

from app.domain import Caller, Face, ImageInput, PublicId, StoredFace
from app.errors import ResourceNotFoundException, ServiceQuotaExceededException
from app.service.collections import Collections
from app.service.ids import EXTERNAL_IMAGE_ID_MAX, USER_ID_MAX, public_id
from app.service.recognition import SAME_FACE_IOU, Recognition, cosine_of, embedding_of
from app.service.users import MAX_FACES_A_USER
from app.store import collections as collection_store
from app.store import faces as face_store
from app.store import users as user_store
from app.store.database import Database

DEFAULT_COLLECTION = "members"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`created`: the member is new. `face_created`: the photo was not enrolled before."""

    user: PublicId
    face: StoredFace
    created: bool
    face_created: bool
    faces: int


@dataclass(frozen=True, slots=True)
class MemberMatch:
    member_id: str
    user_id: str
    cosine: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Identification:
    searched: Face
    matches: tuple[MemberMatch, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cosine` is None when the member has no face."""

    verified: bool
    cosine: float | None
    similarity: float


class Members:
    """Enrolling, identifying and verifying members. Thresholds are cosines, -1..1."""

    def __init__(self, database: Database, collections: Collections, recognition: Recognition) -> None:
        self._database = database
        self._collections = collections
        self._recognition = recognition

    async def enroll(
        self,
        caller: Caller,
        collection_id: str,
        member_id: str,
        image: ImageInput,
    ) -> Enrolment:
        """Add the largest face of an image to a member, who is created when new.

        The collection `members` is made at its first use, any other must exist. The same image again
        changes nothing.

        Raises:
            NoFaceFound: the image has no face; nothing is stored.
            ServiceQuotaExceededException: the member has 100 faces.
        """
        user = public_id(member_id, "member_id", USER_ID_MAX)
        label = public_id(member_id, "member_id", EXTERNAL_IMAGE_ID_MAX)
        self._collections.confirm_visible(caller, collection_id)
        if collection_id != DEFAULT_COLLECTION:
            await self._collections.confirm_searchable(caller, collection_id)
        face, found = await self._recognition.largest_face(image)
        async with self._database.session() as session:
            if collection_id == DEFAULT_COLLECTION:
                await collection_store.create(
                    session, caller.account_id, collection_id, self._collections.face_model_version
                )
            await self._collections.require_searchable(session, caller, collection_id, keep=True)
            created = await user_store.ensure(session, caller.account_id, collection_id, user)
            place = (caller.account_id, collection_id, found.image_id, label.safe)
            await face_store.lock_image(session, *place)
            known = [
                stored
                for stored in await face_store.of_image(session, *place)
                if stored.user_id == user.safe and stored.box.iou(face.box) >= SAME_FACE_IOU
            ]
            count = await face_store.count_of_user(session, caller.account_id, collection_id, user.safe)
            if known:
                return Enrolment(user, known[0], created, face_created=False, faces=count)
            if count >= MAX_FACES_A_USER:
                raise ServiceQuotaExceededException(f"A member has at most {MAX_FACES_A_USER} faces")
            stored = StoredFace(uuid4(), found.image_id, label, user.safe, face.box, face.confidence)
            await face_store.add(
                session,
                caller.account_id,
                collection_id,
                [face_store.NewFace(stored, embedding_of(face))],
            )
            await user_store.refresh_vector(session, caller.account_id, collection_id, user.safe)
        return Enrolment(user, stored, created, face_created=True, faces=count + 1)

    async def identify(
        self,
        caller: Caller,
        collection_id: str,
        image: ImageInput,
        *,
        min_cosine: float,
        limit: int,
    ) -> Identification:
        """The members most like the largest face of an image, each by the mean of their faces.

        Raises:
            NoFaceFound: the image has no face.
        """
        empty = await self._is_unused_default(caller, collection_id)
        face, _ = await self._recognition.largest_face(image)
        if empty:
            return Identification(face, ())
        async with self._database.session() as session:
            place = (caller.account_id, collection_id)
            found = await user_store.nearest(
                session, *place, embedding_of(face), min_cosine=min_cosine, limit=limit
            )
        return Identification(
            face,
            tuple(
                MemberMatch(
                    match.member_id,
                    match.user_id,
                    match.cosine,
                    self._recognition.similarity(match.cosine),
                )
                for match in found
            ),
        )

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
        user = public_id(member_id, "member_id", USER_ID_MAX)
        place = (caller.account_id, collection_id)
        unknown = ResourceNotFoundException(f"The member id: {member_id} does not exist")
        if await self._is_unused_default(caller, collection_id):
            raise unknown
        async with self._database.session() as session:
            if not await user_store.exists(session, *place, user.safe):
                raise unknown
        face, _ = await self._recognition.largest_face(image)
        async with self._database.session() as session:
            vector = await user_store.vector_of(session, *place, user.safe)
        if vector is None:
            return Verdict(verified=False, cosine=None, similarity=0.0)
        cosine = cosine_of(embedding_of(face), vector)
        return Verdict(
            verified=cosine >= min_cosine,
            cosine=cosine,
            similarity=self._recognition.similarity(cosine),
        )

    async def compare(self, one: ImageInput, other: ImageInput) -> tuple[float, float]:
        """Cosine and Similarity of the largest faces of two images; NoFaceFound when one has none."""
        first, _ = await self._recognition.largest_face(one)
        second, _ = await self._recognition.largest_face(other)
        cosine = cosine_of(embedding_of(first), embedding_of(second))
        return cosine, self._recognition.similarity(cosine)

    async def _is_unused_default(self, caller: Caller, collection_id: str) -> bool:
        """Whether this is the default collection before its first use; raises for others that lack."""
        self._collections.confirm_visible(caller, collection_id)
        async with self._database.session() as session:
            if collection_id == DEFAULT_COLLECTION:
                found = await collection_store.find(session, caller.account_id, collection_id)
                if found is None:
                    return True
            await self._collections.require_searchable(session, caller, collection_id)
            return False
