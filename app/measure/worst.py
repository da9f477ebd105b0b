"""The pairs on which recognition errs worst, and pictures of their faces."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Face
from app.engine.similarity import SimilarityCurve
from app.images.decode import decode
from app.measure.datasets import LabelledPhoto
from app.measure.engine import LIMITS
from app.measure.recognition import Compared, Gallery

PAIRS = 12
SIDE_PX = 112
# Of the longer side of a face's box, on every side of it.
MARGIN = 0.3
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class WorstPair:
    """Two photos by name, how alike they are, and their faces as JPEG data URIs, if those were asked for."""

    one: str
    other: str
    cosine: float
    similarity: float
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Worst:
    """The most alike pairs of different people, and the least alike ones of the same person."""

    different: tuple[WorstPair, ...]
    same: tuple[WorstPair, ...]


def worst(compared: Compared, curve: SimilarityCurve, *, pictures: bool) -> Worst:
    """At most one pair of each two people, and one of each person."""
    gallery, tail = compared.gallery, compared.tail
    different: dict[frozenset[int], tuple[int, int]] = {}
    for one, other in zip(tail.one, tail.other, strict=True):
        whose = frozenset((int(gallery.people[one]), int(gallery.people[other])))
        different.setdefault(whose, (int(one), int(other)))
        if len(different) == PAIRS:
            break
    same = sorted(_least_alike(gallery), key=lambda pair: _cosine(gallery.vectors, pair))
    return Worst(
        tuple(_pair(gallery, pair, curve, pictures=pictures) for pair in different.values()),
        tuple(_pair(gallery, pair, curve, pictures=pictures) for pair in same[:PAIRS]),
    )


def _least_alike(gallery: Gallery) -> list[tuple[int, int]]:
    """Of each person with two photos or more, the two that are least alike."""
    found = []
    for person in np.unique(gallery.people):
        photos = np.flatnonzero(gallery.people == person)
        if len(photos) > 1:
            cosines = gallery.vectors[photos] @ gallery.vectors[photos].T
            one, other = np.unravel_index(int(cosines.argmin()), cosines.shape)
            found.append((int(photos[one]), int(photos[other])))
    return found


def _cosine(vectors: NDArray[np.float32], pair: tuple[int, int]) -> float:
    return float(vectors[pair[0]] @ vectors[pair[1]])


def _pair(gallery: Gallery, pair: tuple[int, int], curve: SimilarityCurve, *, pictures: bool) -> WorstPair:
    cosine = _cosine(gallery.vectors, pair)
    photos: Sequence[LabelledPhoto] = [gallery.photos[index] for index in pair]
    shown = [_picture(gallery.photos[index], gallery.faces[index]) for index in pair] if pictures else []
    return WorstPair(photos[0].name, photos[1].name, cosine, curve.similarity(cosine), tuple(shown))


def _picture(photo: LabelledPhoto, face: Face) -> str:
    """A square around the face, as a data URI; what lies outside the photo is black."""
    image = decode(photo.path.read_bytes(), LIMITS)
    height, width = image.shape[:2]
    box = face.box
    side = (1 + 2 * MARGIN) * max(box.width * width, box.height * height)
    centre = np.array([(box.left + box.width / 2) * width, (box.top + box.height / 2) * height])
    scale = SIDE_PX / side
    move = SIDE_PX / 2 - scale * centre
    matrix = np.array([[scale, 0, move[0]], [0, scale, move[1]]])
    crop = cv2.warpAffine(image, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
