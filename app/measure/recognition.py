"""Verification on photos by person: who is compared, with which rates, for all and for each group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import Embed, Face
from app.engine.similarity import RATE_AT_SIMILARITY, SimilarityCurve
from app.errors import ServiceError
from app.measure import scores, verification
from app.measure.datasets import DatasetError, LabelledPhoto
from app.measure.engine import LocalEngine, analyse
from app.measure.verification import FixedPoint, Genuine, ImpostorTail, OperatingPoint

RATES = sorted(RATE_AT_SIMILARITY.values(), reverse=True)
SIMILARITIES = (80.0, 90.0, 99.0)
# Fewer impostor pairs than have this many false matches at a rate say little about it.
ENOUGH_FALSE_MATCHES = 10
FEW_PEOPLE = 30
# Photos of different people that are as near to each other are copies, or one person under two names.
SAME_PHOTO = 0.85

Choose = Callable[[Sequence[Face]], Face | None]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The compared faces, one a photo: vectors (n, d), strengths (n,), numbers of their people (n,)."""

    photos: list[LabelledPhoto]
    faces: list[Face]
    vectors: NDArray[np.float32]
    strengths: NDArray[np.float32]
    people: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of the photos: how many were compared, of how many people, and which could not be."""

    photos: int
    people: int
    with_several_faces: int
    without_face: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """A Similarity of the service: the false-match rate that it promises, and what was measured at it."""

    similarity: float
    promised_fmr: float
    measured: FixedPoint


@dataclass(frozen=True, slots=True)
class Group:
    """Pairs within one group only, which are usually harder than those of all people."""

    name: str
    photos: int
    people: int
    impostor_pairs: int
    genuine_pairs: int
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was measured; rates for which there are too few pairs are left out and stand in `warnings`."""

    counted: Counted
    impostor_pairs: int
    genuine_pairs: int
    half_found_at: float
    operating_points: tuple[OperatingPoint, ...]
    promises: tuple[Promise, ...]
    spread: scores.Spread
    groups: tuple[Group, ...]
    people_without_group: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A gallery and its pairs."""

    gallery: Gallery
    tail: ImpostorTail
    genuine: Genuine


def embed(engine: LocalEngine, photos: Sequence[LabelledPhoto], choose: Choose) -> tuple[Gallery, Counted]:
    """One face of each photo, which `choose` picks.

    Raises:
        DatasetError: there are no two people with a face, or nobody has two photos with one.
    """
    found = engine.map(lambda photo: _faces(engine, photo), photos)
    seen = [
        (photo, face)
        for photo, faces in zip(photos, found, strict=True)
        if faces and (face := choose(faces)) is not None and face.embedding is not None
    ]
    numbers = {person: number for number, person in enumerate(sorted({photo.person for photo, _ in seen}))}
    if len(numbers) < 2:
        raise DatasetError(
            f"{len(photos)} photos show faces of {len(numbers)} people: two folders of people are needed"
        )
    if len(numbers) == len(seen):
        raise DatasetError("nobody has two photos with a face: there is nothing to recognise")
    gallery = Gallery(
        [photo for photo, _ in seen],
        [face for _, face in seen],
        np.stack([face.embedding for _, face in seen if face.embedding is not None]),
        np.array([1.0 if face.strength is None else face.strength for _, face in seen], np.float32),
        np.array([numbers[photo.person] for photo, _ in seen]),
    )
    return gallery, Counted(
        len(seen),
        len(numbers),
        sum(faces is not None and len(faces) > 1 for faces in found),
        tuple(photo.name for photo, faces in zip(photos, found, strict=True) if faces == ()),
        tuple(photo.name for photo, faces in zip(photos, found, strict=True) if faces is None),
    )


def _faces(engine: LocalEngine, photo: LabelledPhoto) -> tuple[Face, ...] | None:
    """The faces of a photo; None where it cannot be read."""
    try:
        return analyse(engine.pipeline, photo.path.read_bytes(), Embed.ALL)
    except (ServiceError, OSError):
        return None


def compare(gallery: Gallery, curve: SimilarityCurve) -> Compared:
    """All pairs of different people, and those of the same person that are drawn."""
    return Compared(
        gallery,
        verification.impostor_tail(gallery.vectors, gallery.people, curve.cosine(min(SIMILARITIES))),
        verification.genuine_pairs(gallery.vectors, gallery.people),
    )


def measure(
    compared: Compared, counted: Counted, curve: SimilarityCurve, groups: Mapping[str, str]
) -> Recognition:
    """Rates of all pairs, and of those within each group.

    Args:
        compared: the pairs.
        counted: where the photos went.
        curve: what the service's percentages are read off.
        groups: the group of each person that has one, by name.
    """
    gallery, tail, genuine = compared.gallery, compared.tail, compared.genuine
    rates = [rate for rate in RATES if tail.total * rate >= ENOUGH_FALSE_MATCHES]
    points = verification.operating_points(tail, genuine, gallery.people, rates) if rates else []
    promises = _promises(compared, curve)
    warnings = _warnings(compared, counted, promises)
    labels = np.array([groups.get(photo.person, "") for photo in gallery.photos])
    by_group = _groups(gallery, labels, curve)
    alone = sorted(set(labels) - {"", *(group.name for group in by_group)})
    if alone:
        warnings.append(f"Of one person each, and so without rates: the groups {', '.join(alone)}.")
    return Recognition(
        counted,
        tail.total,
        len(genuine.cosines),
        float(np.median(genuine.cosines)) if len(genuine.cosines) else 0.0,
        tuple(points),
        promises,
        scores.spread(gallery.vectors, gallery.people, genuine),
        tuple(by_group),
        len(np.unique(gallery.people[labels == ""])) if groups else 0,
        tuple(warnings),
    )


def _promises(compared: Compared, curve: SimilarityCurve) -> tuple[Promise, ...]:
    cosines = [curve.cosine(similarity) for similarity in SIMILARITIES]
    points = verification.fixed_points(compared.tail, compared.genuine, compared.gallery.people, cosines)
    return tuple(
        Promise(similarity, RATE_AT_SIMILARITY[similarity], point)
        for similarity, point in zip(SIMILARITIES, points, strict=True)
    )


def _groups(gallery: Gallery, labels: NDArray[np.str_], curve: SimilarityCurve) -> list[Group]:
    found = []
    for name in sorted(set(labels) - {""}):
        chosen = np.flatnonzero(labels == name)
        numbers = np.unique(gallery.people[chosen], return_inverse=True)[1]
        if numbers.max() == 0:
            continue
        part = Gallery(
            [gallery.photos[index] for index in chosen],
            [gallery.faces[index] for index in chosen],
            gallery.vectors[chosen],
            gallery.strengths[chosen],
            numbers,
        )
        pairs = compare(part, curve)
        found.append(
            Group(
                str(name),
                len(chosen),
                int(numbers.max()) + 1,
                pairs.tail.total,
                len(pairs.genuine.cosines),
                _promises(pairs, curve),
            )
        )
    return found


def _warnings(compared: Compared, counted: Counted, promises: Sequence[Promise]) -> list[str]:
    """What a reader must know before believing the rates."""
    total = compared.tail.total
    said = []
    few = [rate for rate in RATES if total * rate < ENOUGH_FALSE_MATCHES]
    if few:
        said.append(
            f"{total} pairs of different people are too few for a false-match rate of {few[0]:g} and below: "
            f"that takes {ENOUGH_FALSE_MATCHES / few[0]:.0f}."
        )
    untold = [at for at in promises if at.measured.false_matches < ENOUGH_FALSE_MATCHES]
    if untold:
        matches = ", ".join(f"{at.measured.false_matches} at Similarity {at.similarity:g}" for at in untold)
        said.append(
            f"So few of {total} pairs match falsely ({matches}) that they cannot show whether the "
            "promised rates hold."
        )
    if counted.people < FEW_PEOPLE:
        said.append(f"{counted.people} people are few: the intervals are wide and may still be too narrow.")
    copies = int((compared.tail.cosines >= SAME_PHOTO).sum())
    if copies:
        said.append(
            f"{copies} pairs of different people are as near as copies of one photo (cosine {SAME_PHOTO} and "
            "more): look whether a photo lies in two folders or a person has two."
        )
    for names, what in (
        (counted.without_face, "no face was found in"),
        (counted.unreadable, "could not be read:"),
    ):
        if names:
            said.append(f"{what[0].upper()}{what[1:]} {len(names)} photos, which are in no rate.")
    return said
