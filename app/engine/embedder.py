"""Face embeddings: ArcFace's alignment, which SFace shares, and a network."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from app.domain import Floats, Pixels, Vector
from app.engine.crops import aligned
from app.engine.model import Model
from app.engine.runtime import Session


class Embedding(NamedTuple):
    """A face's unit vector. `length` is how sure the network was: poor images give short vectors."""

    vector: Vector
    length: float


class Embedder:
    """Turns an aligned face into a unit vector (Deng et al., ArcFace, CVPR 2019; Zhong et al., SFace, TIP
    2021).
    """

    def __init__(self, session: Session, vector_size: int) -> None:
        self._model = Model(session)
        self._vector_size = vector_size

    def embed(self, image: Pixels, landmarks: Floats, *, mirror: bool = False) -> Embedding:
        """The embedding of one face.

        Args:
            image: the whole upright image.
            landmarks: shape (5, 2), pixels: eyes, nose, corners of the mouth.
            mirror: the vector is that of the face and its mirror image together (docs/adr/0020).
        Returns:
            A unit vector, float32, shape (vector_size,), and the length that the network gave the face's own.
        """
        return self.embed_all([(image, landmarks)], mirror=mirror)[0]

    def embed_all(self, faces: Sequence[tuple[Pixels, Floats]], *, mirror: bool = False) -> list[Embedding]:
        """The embedding of each face, as `embed` gives it; little is done between runs of the network."""
        crops = [aligned(image, landmarks, self._model.side) for image, landmarks in faces]
        raws = self._raws(crops)
        lengths = norms = _lengths(raws)
        if mirror:
            turned = self._raws([np.asarray(cv2.flip(crop, 1), np.uint8) for crop in crops])
            raws = [raw + other for raw, other in zip(raws, turned, strict=True)]
            norms = _lengths(raws)
        return [Embedding(raw / norm, length) for raw, norm, length in zip(raws, norms, lengths, strict=True)]

    def _raws(self, crops: Sequence[Pixels]) -> list[Floats]:
        return [raw.reshape(self._vector_size) for raw in self._model.run_all(crops)]


def _lengths(vectors: Sequence[Floats]) -> list[float]:
    return [float(np.linalg.norm(vector)) for vector in vectors]
