"""Rules of detecting, indexing, searching and comparing faces."""

import time
from dataclasses import dataclass
from typing import Self
from uuid import UUID, uuid4

import numpy as np

from app.domain import (
    Caller,
    Detail,
    Embed,
    Face,
    ImageInput,
    Look,
    Match,
    Page,
    PublicId,
    QualityLevel,
    StoredFace,
    Vector,
)
from app.engine.similarity import SimilarityCurve
from app.errors import NoFaceFound
from app.metrics import Metrics
from app.service.analysis import Analyser, Analysis
from app.service.collections import Collections
from app.service.photos import reference_of
from app.service.recall import DoneSearch, RecallSampler
from app.service.results import (
    ComparedFace,
    Comparison,
    ImageSearch,
    Indexed,
    IndexedFace,
    UnindexedFace,
)
from app.service.savings import Savings
from app.store import faces as store
from app.store.database import Database
from app.store.vector_memory import VectorMemory

# Two boxes of one image that overlap this much are the same face, found twice by two calls.
SAME_FACE_IOU = 0.6
# How many of the largest faces are looked at for the largest that passes.
MOST_FACES = 100
# For enrolment and comparison, where one face is looked at: docs/adr/0020.
ONE_PERSON = Look(Embed.LARGEST, MOST_FACES, mirror=True, alone=True)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least cosine that counts as a match."""

    cosine: float

    @classmethod
    def of_similarity(cls, percent: float, curve: SimilarityCurve) -> Self:
        return cls(curve.cosine(percent))


class Recognition:
    """Faces in images and collections. Similarity is 0..100, cosine -1..1."""

    def __init__(
        self,
        database: Database,
        memory: VectorMemory,
        collections: Collections,
        analyser: Analyser,
        curve: SimilarityCurve,
        metrics: Metrics,
        savings: Savings,
        recall: RecallSampler,
    ) -> None:
        self._database = database
        self._memory = memory
        self._collections = collections
        self._analyser = analyser
        self._curve = curve
        self._metrics = metrics
        self._savings = savings
        self._recall = recall

    def threshold(self, similarity: float) -> Threshold:
        """The threshold that a Similarity stands for."""
        return Threshold.of_similarity(similarity, self._curve)

    def similarity(self, cosine: float) -> float:
        return self._curve.similarity(cosine)

    async def detect(
        self, caller: Caller, image: ImageInput, max_faces: int, detail: Detail
    ) -> tuple[Face, ...]:
        """The faces of an image, largest first; empty when there is none."""
        found = await self._analyser.analyse(image, Look(Embed.NONE, max_faces, detail=detail))
        self._savings.count(caller.account_id, "DetectFaces")
        return found.faces

    async def largest_face(
        self, image: ImageInput, quality: QualityLevel = QualityLevel.NONE, *, mirror: bool = False
    ) -> tuple[Face, Analysis]:
        """The largest face of an image that passes the quality level, with its embedding.

        Raises:
            NoFaceFound: there is no face that passes the quality level.
        """
        look = Look(Embed.LARGEST, MOST_FACES, quality, mirror=mirror, alone=True)
        return largest_of(await self._analyser.analyse(image, look))

    async def index(
        self,
        caller: Caller,
        collection_id: str,
        image: ImageInput,
        *,
        external_image_id: PublicId | None,
        max_faces: int | None,
        quality: QualityLevel,
        most_faces: int,
        detail: Detail,
    ) -> Indexed:
        """Store the faces of an image in a collection.

        The same image under the same ExternalImageId stores nothing twice and answers the same ids,
        also when two calls come at once. Over `max_faces`, the faces of the lowest quality go first,
        then the smallest. `most_faces` is the limit of the door.
        """
        await self._collections.confirm_searchable(caller, collection_id)
        look = Look(Embed.ALL, most_faces, quality, detail, keep=max_faces)
        found = await self._analyser.analyse(image, look)
        chosen = [face for face in found.faces if face.embedding is not None]
        left_out = tuple(
            UnindexedFace(face, face.reasons or ("EXCEEDS_MAX_FACES",))
            for face in found.faces
            if face.embedding is None
        )
        async with self._database.session() as session:
            await self._collections.require_searchable(session, caller, collection_id, keep=True)
            known: list[StoredFace] = []
            if external_image_id is not None:
                place = (caller.account_id, collection_id, found.image_id, external_image_id.safe)
                await store.lock_image(session, *place)
                known = await store.of_image(session, *place)
            records, new = _match_known(
                chosen, known, found.image_id, external_image_id, reference_of(image.source)
            )
            await store.add(session, caller.account_id, collection_id, new)
        self._metrics.faces_indexed.inc(len(new))
        self._savings.count(caller.account_id, "IndexFaces")
        return Indexed(tuple(records), left_out)

    async def search(
        self, caller: Caller, collection_id: str, face_id: UUID, threshold: Threshold, limit: int
    ) -> tuple[Match, ...]:
        """Faces of a collection like one of its own faces, which is left out."""
        async with self._database.reading() as reader:
            await self._collections.require_searchable(reader, caller, collection_id)
            probe = await store.require_vector(reader, caller.account_id, collection_id, face_id)
        matches = await self._nearest(caller, collection_id, probe, threshold, limit, leave_out=face_id)
        self._savings.count(caller.account_id, "SearchFaces")
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
    ) -> ImageSearch:
        """Faces of a collection like the largest face of an image.

        Raises:
            NoFaceFound: the image has no face.
        """
        began = time.monotonic()
        await self._collections.confirm_searchable(caller, collection_id)
        searched, _ = await self.largest_face(image, quality)
        matches = await self._nearest(caller, collection_id, embedding_of(searched), threshold, limit)
        if not matches:
            await self._collections.confirm_searchable(caller, collection_id, since=began)
        self._savings.count(caller.account_id, "SearchFacesByImage")
        return ImageSearch(searched, matches)

    async def compare(
        self,
        caller: Caller,
        source: ImageInput,
        target: ImageInput,
        *,
        threshold: Threshold,
        quality: QualityLevel,
        most_faces: int,
    ) -> Comparison:
        """Compare the largest face of one image with every face of another.

        Raises:
            NoFaceFound: one of the images has no face that passes the quality level.
        """
        # One side's mirror image gains as much as both sides' would.
        largest, _ = await self.largest_face(source, quality, mirror=True)
        look = Look(Embed.ALL, most_faces, quality, Detail.POINTS)
        found = await self._analyser.analyse(target, look)
        passing = [face for face in found.faces if not face.reasons]
        if not passing:
            raise NoFaceFound
        compared = [self._compare(largest, face) for face in passing]
        compared.sort(key=lambda item: item.cosine, reverse=True)
        self._savings.count(caller.account_id, "CompareFaces")
        return Comparison(
            largest,
            tuple(item for item in compared if item.cosine >= threshold.cosine),
            tuple(item for item in compared if item.cosine < threshold.cosine),
        )

    async def page(
        self,
        caller: Caller,
        collection_id: str,
        *,
        after: UUID | None,
        limit: int,
        face_ids: list[UUID] | None,
        user_id: str | None,
    ) -> tuple[Page[StoredFace], str]:
        """Faces of a collection in the order of their ids, and the collection's FaceModelVersion."""
        async with self._database.reading() as reader:
            collection = await self._collections.require(reader, caller, collection_id)
            page = await store.page(
                reader,
                caller.account_id,
                collection_id,
                after=after,
                limit=limit,
                face_ids=face_ids,
                user_id=user_id,
            )
            return page, collection.face_model_version

    async def delete(
        self, caller: Caller, collection_id: str, face_ids: list[UUID]
    ) -> tuple[list[UUID], list[tuple[UUID, str | None, str]]]:
        """Delete faces.

        Returns:
            The ids deleted, and (id, user id or None, Rekognition's reason) of those that were not.
        """
        async with self._database.session() as session:
            await self._collections.require(session, caller, collection_id)
            deleted, kept = await store.remove(session, caller.account_id, collection_id, face_ids)
        seen = {*deleted, *(face_id for face_id, _ in kept)}
        refused: list[tuple[UUID, str | None, str]] = [
            (face_id, user_id, "ASSOCIATED_TO_AN_EXISTING_USER") for face_id, user_id in kept
        ]
        refused += [
            (face_id, None, "FACE_NOT_FOUND") for face_id in dict.fromkeys(face_ids) if face_id not in seen
        ]
        return deleted, refused

    def _compare(self, source: Face, target: Face) -> ComparedFace:
        cosine = cosine_of(embedding_of(source), embedding_of(target))
        return ComparedFace(target, cosine, self._curve.similarity(cosine))

    async def _nearest(
        self,
        caller: Caller,
        collection_id: str,
        probe: Vector,
        threshold: Threshold,
        limit: int,
        leave_out: UUID | None = None,
    ) -> tuple[Match, ...]:
        place, model = (caller.account_id, collection_id), self._collections.face_model_version
        with self._metrics.stage("search"):
            found = await store.nearest(
                self._database,
                *place,
                probe,
                model=model,
                min_cosine=threshold.cosine,
                limit=limit,
                leave_out=leave_out,
                memory=self._memory,
            )
        ids = frozenset(face.face_id for face, _ in found)
        self._recall.offer(DoneSearch(place, model, probe, threshold.cosine, limit, leave_out, ids))
        matches = tuple(Match(face, cosine, self._curve.similarity(cosine)) for face, cosine in found)
        self._metrics.searched(matches[0].similarity if matches else None)
        return matches


def largest_of(found: Analysis) -> tuple[Face, Analysis]:
    """The face that was chosen to be embedded as the largest; NoFaceFound when there is none."""
    for face in found.faces:
        if face.embedding is not None:
            return face, found
    raise NoFaceFound


def embedding_of(face: Face) -> Vector:
    """The embedding of a face that was analysed with one."""
    if face.embedding is None:
        raise ValueError("the face was analysed without an embedding")
    return face.embedding


def cosine_of(one: Vector, other: Vector) -> float:
    """Cosine of two unit vectors, -1..1."""
    return float(np.clip(np.dot(one, other), -1.0, 1.0))


def _match_known(
    faces: list[Face],
    known: list[StoredFace],
    image_id: UUID,
    external_image_id: PublicId | None,
    photo: str | None,
) -> tuple[list[IndexedFace], list[store.NewFace]]:
    """Pair faces with those that an earlier call stored from the same image; the others are new."""
    free = list(known)
    records, new = [], []
    for face in faces:
        same = max(free, key=lambda stored: stored.box.iou(face.box), default=None)
        if same is not None and same.box.iou(face.box) >= SAME_FACE_IOU:
            free.remove(same)
            records.append(IndexedFace(same, face))
            continue
        stored = StoredFace(uuid4(), image_id, external_image_id, None, face.box, face.confidence, photo)
        records.append(IndexedFace(stored, face))
        new.append(store.NewFace(stored, embedding_of(face)))
    return records, new
