"""Face embeddings: insightface's ArcFace alignment and pre-processing over our session."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.utils import face_align
from numpy.typing import NDArray

from app.domain import Pixels, Vector
from app.engine.crops import warpable
from app.engine.runtime import open_session


class Embedding(NamedTuple):
    """A face's unit vector. `length` is how sure the network was: poor images give short vectors."""

    vector: Vector
    length: float


class Embedder:
    """Turns an aligned face into a unit vector (Deng et al., ArcFace, CVPR 2019)."""

    def __init__(self, path: Path, vector_size: int) -> None:
        self._model = ArcFaceONNX(model_file=str(path), session=open_session(path))
        self._vector_size = vector_size

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> Embedding:
        """The embedding of one face.

        Args:
            image: the whole upright image.
            landmarks: shape (5, 2), pixels: eyes, nose, corners of the mouth.
        Returns:
            A unit vector, float32, shape (vector_size,), and the length that the network gave it.
        """
        image, landmarks = warpable(image, landmarks)
        crop = face_align.norm_crop(image, landmark=landmarks, image_size=self._model.input_size[0])
        raw = np.asarray(self._model.get_feat(crop), dtype=np.float32).reshape(self._vector_size)
        length = float(np.linalg.norm(raw))
        return Embedding(raw / length, length)
