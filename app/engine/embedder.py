"""Face embeddings: insightface's ArcFace alignment and pre-processing over our session."""

from pathlib import Path

import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.utils import face_align
from numpy.typing import NDArray

from app.domain import Pixels, Vector
from app.engine.runtime import open_session

# OpenCV warps no picture with a longer side.
_WARP_LIMIT = 32_767


class Embedder:
    """Turns an aligned face into a unit vector (Deng et al., ArcFace, CVPR 2019)."""

    def __init__(self, path: Path, vector_size: int) -> None:
        self._model = ArcFaceONNX(model_file=str(path), session=open_session(path))
        self._vector_size = vector_size

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> Vector:
        """The embedding of one face.

        Args:
            image: the whole upright image.
            landmarks: shape (5, 2), pixels: eyes, nose, corners of the mouth.
        Returns:
            Unit vector, float32, shape (vector_size,).
        """
        if max(image.shape) >= _WARP_LIMIT:
            image, landmarks = _around(image, landmarks)
        crop = face_align.norm_crop(image, landmark=landmarks, image_size=self._model.input_size[0])
        raw = np.asarray(self._model.get_feat(crop), dtype=np.float32).reshape(self._vector_size)
        vector: Vector = raw / np.linalg.norm(raw)
        return vector


def _around(image: Pixels, landmarks: NDArray[np.float32]) -> tuple[Pixels, NDArray[np.float32]]:
    """The part of an image that the alignment can reach, with the landmarks in it."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    reach = min(4 * float((high - low).max()), _WARP_LIMIT / 4)
    left, top = np.maximum(low - reach, 0).astype(int)
    right, bottom = (high + reach).astype(int)
    return image[top:bottom, left:right], landmarks - np.array([left, top], np.float32)
