"""Rules of users: people made of faces, searched by all of them at once."""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import (
    Caller,
    Detail,
    Embed,
    Face,
    ImageInput,
    Look,
    Page,
    PublicId,
    QualityLevel,
    User,
    Vector,
)
from app.engine.similarity import SimilarityCurve
from app.errors import (
    ConflictException,
    ServiceQuotaExceededException,
)
from app.metrics import Metrics
from app.service.analysis import Analyser
from app.service.collections import Collections
from app.service.recognition import Threshold, embedding_of
from app.service.savings import Savings
from app.store import faces as face_store
from app.store import index_jobs, request_tokens
from app.store import users as store
from app.store.database import Database
from app.store.vector_memory import VectorMemory

MAX_FACES_A_USER = 100


@dataclass(frozen=True, slots=True)
class RefusedFace:
    """A face that was not (dis)associated: why, whose it is, and how like the user it is, 0..100."""

    face_id: UUID
    reason: str
    user_id: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Associations:
    """Faces that were (dis)associated and those that were not; `active` while the user has a face."""

    done: tuple[UUID, ...]
    refused: tuple[RefusedFace, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class UserMatch:
    user_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class UnsearchedFace:
    face: Face
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserImageSearch:
    """`searched` is None when the image has no face that passes the quality level."""

    searched: Face | None
    unsearched: tuple[UnsearchedFace, ...]
    matches: tuple[UserMatch, ...]


Work: TypeAlias = Callable[[AsyncConnection], Awaitable[str]]


class Users:
    """Users of a collection. A user's vector is the mean of their faces (docs/accuracy.md says why)."""

    def __init__(
        self,
        database: Database,
        memory: VectorMemory,
        collections: Collections,
        analyser: Analyser,
        curve: SimilarityCurve,
        metrics: Metrics,
        savings: Savings,
    ) -> None:
        self._database = database
        self._memory = memory
        self._collections = collections
        self._analyser = analyser
        self._curve = curve
        self._metrics = metrics
        self._savings = savings

    async def create(self, caller: Caller, collection_id: str, user_id: str, token: str | None) -> None:
        """Create a user without faces; ConflictException when there is one of this id."""

        async def work(session: AsyncConnection) -> str:
            await self._collections.require_searchable(session, caller, collection_id, keep=True)
            if not await store.create(session, caller.account_id, collection_id, PublicId(user_id, user_id)):
                raise ConflictException(f"The user id: {user_id} already exists")
            await index_jobs.remember_user(session, caller.account_id, collection_id, user_id)
            return ""

        await self._once(caller, "CreateUser", token, [collection_id, user_id], work)

    async def delete(self, caller: Caller, collection_id: str, user_id: str, token: str | None) -> None:
        """Delete a user; their faces stay. ResourceNotFoundException when there is none."""

        async def work(session: AsyncConnection) -> str:
            await self._collections.require(session, caller, collection_id, keep=True)
            if not await store.remove(session, caller.account_id, collection_id, user_id):
                raise store.not_found(user_id)
            await index_jobs.forget_user(session, caller.account_id, collection_id, user_id)
            return ""

        await self._once(caller, "DeleteUser", token, [collection_id, user_id], work)

    async def page(self, caller: Caller, collection_id: str, after: str | None, limit: int) -> Page[User]:
        """Users in the order of their ids."""
        async with self._database.reading() as reader:
            await self._collections.require(reader, caller, collection_id)
            return await store.page(reader, caller.account_id, collection_id, after, limit)

    async def associate(
        self,
        caller: Caller,
        collection_id: str,
        user_id: str,
        face_ids: Sequence[UUID],
        threshold: Threshold,
        token: str | None,
    ) -> Associations:
        """Add faces of the collection to a user.

        A face must resemble the faces that the user has; a user without faces is given those that
        resemble the one that is most like the others of this call. Faces that the user has already
        are passed over.

        Raises:
            ServiceQuotaExceededException: the user would have more than 100 faces.
        """
        place = (caller.account_id, collection_id)

        async def work(session: AsyncConnection) -> str:
            await self._collections.require_searchable(session, caller, collection_id, keep=True)
            await store.require(session, *place, user_id, lock=True)
            found = await face_store.owned(session, *place, face_ids)
            free, refused = _sort_for(user_id, face_ids, found)
            vectors = {face_id: found[face_id].embedding for face_id in free}
            owned = await store.vector_of(session, *place, user_id)
            cosines = _cosines_to_user(vectors, owned, threshold.cosine)
            done = [face_id for face_id in free if cosines[face_id] >= threshold.cosine]
            refused += [
                RefusedFace(face_id, "LOW_MATCH_CONFIDENCE", None, self._curve.similarity(cosines[face_id]))
                for face_id in free
                if face_id not in done
            ]
            count = await face_store.count_of_user(session, *place, user_id)
            if count + len(done) > MAX_FACES_A_USER:
                raise ServiceQuotaExceededException(f"A user has at most {MAX_FACES_A_USER} faces")
            await face_store.assign(session, *place, done, user_id)
            active = await store.refresh_vector(session, *place, user_id)
            return _dump(Associations(tuple(done), tuple(refused), active))

        parameters = [collection_id, user_id, *map(str, face_ids), str(threshold.cosine)]
        done = _load(await self._once(caller, "AssociateFaces", token, parameters, work))
        self._savings.count(caller.account_id, "AssociateFaces")
        return done

    async def disassociate(
        self, caller: Caller, collection_id: str, user_id: str, face_ids: Sequence[UUID], token: str | None
    ) -> Associations:
        """Take faces from a user; they stay in the collection."""
        place = (caller.account_id, collection_id)

        async def work(session: AsyncConnection) -> str:
            await self._collections.require(session, caller, collection_id, keep=True)
            await store.require(session, *place, user_id, lock=True)
            found = await face_store.owned(session, *place, face_ids)
            done, refused = [], []
            for face_id in dict.fromkeys(face_ids):
                owner = found[face_id].user_id if face_id in found else None
                if owner == user_id:
                    done.append(face_id)
                elif owner is None:
                    refused.append(RefusedFace(face_id, "FACE_NOT_FOUND"))
                else:
                    refused.append(RefusedFace(face_id, "ASSOCIATED_TO_A_DIFFERENT_USER", owner))
            await face_store.assign(session, *place, done, None)
            active = await store.refresh_vector(session, *place, user_id)
            return _dump(Associations(tuple(done), tuple(refused), active))

        parameters = [collection_id, user_id, *map(str, face_ids)]
        done = _load(await self._once(caller, "DisassociateFaces", token, parameters, work))
        self._savings.count(caller.account_id, "DisassociateFaces")
        return done

    async def search_by_face(
        self, caller: Caller, collection_id: str, face_id: UUID, threshold: Threshold, limit: int
    ) -> tuple[UserMatch, ...]:
        """Users like a face of the collection."""
        place = (caller.account_id, collection_id)
        async with self._database.reading() as reader:
            await self._collections.require_searchable(reader, caller, collection_id)
            probe = await face_store.require_vector(reader, *place, face_id)
        matches = await self._nearest(place, probe, threshold, limit)
        self._savings.count(caller.account_id, "SearchUsers")
        return matches

    async def search_by_user(
        self, caller: Caller, collection_id: str, user_id: str, threshold: Threshold, limit: int
    ) -> tuple[UserMatch, ...]:
        """Users like another user, who is left out; nobody is like a user without faces."""
        place = (caller.account_id, collection_id)
        async with self._database.reading() as reader:
            await self._collections.require_searchable(reader, caller, collection_id)
            await store.require(reader, *place, user_id)
            probe = await store.vector_of(reader, *place, user_id)
        matches: tuple[UserMatch, ...] = ()
        if probe is not None:
            matches = await self._nearest(place, probe, threshold, limit, leave_out=user_id)
        self._savings.count(caller.account_id, "SearchUsers")
        return matches

    async def search_by_image(
        self,
        caller: Caller,
        collection_id: str,
        image: ImageInput,
        *,
        threshold: Threshold,
        limit: int,
        quality: QualityLevel,
        most_faces: int,
    ) -> UserImageSearch:
        """Users like the largest face of an image that passes the quality level."""
        began = time.monotonic()
        await self._collections.confirm_searchable(caller, collection_id)
        look = Look(Embed.LARGEST, most_faces, quality, Detail.POINTS)
        found = await self._analyser.analyse(image, look)
        searched = next((face for face in found.faces if face.embedding is not None), None)
        unsearched = tuple(
            UnsearchedFace(face, face.reasons or ("FACE_NOT_LARGEST",))
            for face in found.faces
            if face is not searched
        )
        matches: tuple[UserMatch, ...] = ()
        if searched is not None:
            place = (caller.account_id, collection_id)
            matches = await self._nearest(place, embedding_of(searched), threshold, limit)
        if not matches:
            await self._collections.confirm_searchable(caller, collection_id, since=began)
        self._savings.count(caller.account_id, "SearchUsersByImage")
        return UserImageSearch(searched, unsearched, matches)

    async def _nearest(
        self,
        place: tuple[str, str],
        probe: Vector,
        threshold: Threshold,
        limit: int,
        leave_out: str | None = None,
    ) -> tuple[UserMatch, ...]:
        with self._metrics.stage("search"):
            found = await store.nearest(
                self._database,
                *place,
                probe,
                model=self._collections.face_model_version,
                min_cosine=threshold.cosine,
                limit=limit,
                leave_out=leave_out,
                memory=self._memory,
            )
        matches = tuple(UserMatch(match.user_id, self._curve.similarity(match.cosine)) for match in found)
        self._metrics.searched(matches[0].similarity if matches else None)
        return matches

    async def _once(
        self, caller: Caller, operation: str, token: str | None, parameters: Sequence[str], work: Work
    ) -> str:
        """Do `work` in a transaction, or answer what it answered when the token was used before.

        The first of the parameters is the collection's id.
        """
        self._collections.confirm_visible(caller, parameters[0])
        fingerprint = hashlib.sha256(json.dumps(parameters).encode()).hexdigest()
        async with self._database.session() as session:
            if token is None:
                return await work(session)
            call = (caller.account_id, operation, token, fingerprint)
            answer = await request_tokens.recall(session, *call)
            if answer is None:
                answer = await work(session)
                await request_tokens.keep(session, *call, answer)
            return answer


def _sort_for(
    user_id: str, face_ids: Sequence[UUID], found: dict[UUID, face_store.OwnedFace]
) -> tuple[list[UUID], list[RefusedFace]]:
    """Faces that belong to nobody yet, and those that can't be given to the user."""
    free, refused = [], []
    for face_id in dict.fromkeys(face_ids):
        if face_id not in found:
            refused.append(RefusedFace(face_id, "FACE_NOT_FOUND"))
        elif found[face_id].user_id is None:
            free.append(face_id)
        elif found[face_id].user_id != user_id:
            refused.append(RefusedFace(face_id, "ASSOCIATED_TO_A_DIFFERENT_USER", found[face_id].user_id))
    return free, refused


def _cosines_to_user(vectors: dict[UUID, Vector], owned: Vector | None, least: float) -> dict[UUID, float]:
    """How like a user each face is, once the faces that are like enough belong to the user.

    A user without faces begins with the face that is most like the others.
    """
    if not vectors:
        return {}
    stacked = np.stack(list(vectors.values()))
    alike = (stacked @ stacked.T).sum(axis=1).round(4)
    start = stacked[int(np.argmax(alike))] if owned is None else owned
    reference, taken = start, -1
    while True:
        cosines = stacked @ reference
        inside = cosines >= least
        if int(inside.sum()) <= taken:
            return dict(zip(vectors, (float(cosine) for cosine in cosines), strict=True))
        taken = int(inside.sum())
        mean = start + stacked[inside].sum(axis=0)
        reference = mean / np.linalg.norm(mean)


def _dump(value: Associations) -> str:
    return json.dumps(
        {
            "done": [str(face_id) for face_id in value.done],
            "refused": [
                [str(item.face_id), item.reason, item.user_id, item.similarity] for item in value.refused
            ],
            "active": value.active,
        }
    )


def _load(text: str) -> Associations:
    kept = json.loads(text)
    return Associations(
        tuple(UUID(face_id) for face_id in kept["done"]),
        tuple(RefusedFace(UUID(item[0]), *item[1:]) for item in kept["refused"]),
        kept["active"],
    )
