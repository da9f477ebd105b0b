"""Made-up people whose embeddings spread like real ones, for collections larger than there are photos for.

A person is a centre, a photo of theirs the centre with a deviation, both normal in every direction; the sum
is brought to unit length. `face_spread.json` has how wide both are by direction, as `evaluate --fit` measures
it, and no embedding of anybody can be had from it.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("face_spread.json")
# Photos of one person deviate by more or less: the logarithm of the factor is normal with this deviation.
# Chosen so that cosines of two photos of one person have the quantiles of real ones (docs/adr/0018).
UNEVENNESS = 0.3
# Of a person with hundreds of photos no more than these count.
_MOST_PHOTOS = 6
_PARTS = 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of all people, and variances of people and of photos of one, by direction, in millionths."""

    source: str
    mean: list[int]
    of_people: list[int]
    of_photos: list[int]

    @classmethod
    def load(cls) -> Self:
        return cls(**json.loads(FILE.read_text()))

    def write(self) -> None:
        FILE.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], people: NDArray[np.intp], source: str) -> Self:
        """Of unit vectors (n, d) with each one's person."""
        photos = [np.flatnonzero(people == person)[:_MOST_PHOTOS] for person in np.unique(people)]
        within = np.zeros((vectors.shape[1],) * 2)
        for chosen in photos:
            apart = vectors[chosen] - vectors[chosen].mean(axis=0)
            within += apart.T @ apart
        within /= sum(len(chosen) - 1 for chosen in photos)
        one_each = vectors[[chosen[0] for chosen in photos]]
        between, directions = np.linalg.eigh(np.cov(one_each.T) - within)
        of_photos = np.einsum("dk,de,ek->k", directions, within, directions)

        def widest_first(values: NDArray[np.float64]) -> list[int]:
            return [round(float(value) * _PARTS) for value in values[::-1]]

        return cls(
            source,
            widest_first(one_each.mean(axis=0) @ directions),
            widest_first(between.clip(0)),  # estimates of nothing come out on either side of it
            widest_first(of_photos.clip(0)),
        )

    def centres(self, draw: np.random.Generator, count: int) -> NDArray[np.float32]:
        """People, (count, d)."""
        found = _wide(self.mean) + _normal(draw, count, self.of_people)
        return _turned(found)

    def photos(self, draw: np.random.Generator, centres: NDArray[np.float32]) -> NDArray[np.float32]:
        """The embedding of a photo of each, (n, d), of unit length."""
        factor = np.exp(draw.normal(-(UNEVENNESS**2), UNEVENNESS, (len(centres), 1))).astype(np.float32)
        found = centres + factor * _turned(_normal(draw, len(centres), self.of_photos))
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found


def _turned(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Into directions of which none is wider than others, as the coordinates of a model are not."""
    return np.asarray(vectors @ _turn(vectors.shape[1]), np.float32)


@cache
def _turn(size: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(8).standard_normal((size, size))
    return np.asarray(np.linalg.qr(drawn)[0], np.float32)


def _wide(parts: list[int]) -> NDArray[np.float32]:
    return np.array(parts, np.float32) / np.float32(_PARTS)


def _normal(draw: np.random.Generator, count: int, variances: list[int]) -> NDArray[np.float32]:
    found = draw.standard_normal((count, len(variances)), np.float32)
    found *= np.sqrt(_wide(variances))
    return found
