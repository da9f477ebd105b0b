"""What recognising faces answers."""

from dataclasses import dataclass

from app.domain import Face, Match, StoredFace


@dataclass(frozen=True, slots=True)
class IndexedFace:
    stored: StoredFace
    detail: Face


@dataclass(frozen=True, slots=True)
class UnindexedFace:
    detail: Face
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Indexed:
    records: tuple[IndexedFace, ...]
    unindexed: tuple[UnindexedFace, ...]


@dataclass(frozen=True, slots=True)
class ImageSearch:
    searched: Face
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class ComparedFace:
    face: Face
    cosine: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Faces of the target image, best match first, beside the largest face of the source image."""

    source: Face
    matches: tuple[ComparedFace, ...]
    unmatched: tuple[ComparedFace, ...]
