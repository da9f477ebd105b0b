"""A model of one image in, over a session of ONNX Runtime."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Pixels
from app.engine.runtime import open_session

Floats = NDArray[np.float32]


class Scaling(NamedTuple):
    """What a model expects of its input: (pixel - mean) / deviation, in RGB."""

    mean: float
    deviation: float


# The models say this by their graphs: those of 106 points and of age and gender scale what they get
# themselves. A test holds the figures to those that insightface reads off the graphs.
DETECTOR = Scaling(127.5, 128.0)
RECOGNISER = Scaling(127.5, 127.5)
RAW = Scaling(0.0, 1.0)


class Model:
    """Runs a network on single pictures. Safe to call from several threads.

    Args:
        path: an ONNX file with one input, shape (1, 3, height, width).
        scaling: what its input is made of.
    """

    def __init__(self, path: Path, scaling: Scaling) -> None:
        self._session = open_session(path)
        mean, deviation = scaling
        self._scaled = ((np.arange(256) - mean) / deviation).astype(np.float32)
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.side: int = given.shape[2] if isinstance(given.shape[2], int) else 0
        """Of the square that it sees, in pixels; 0 when it takes any."""

    def run(self, picture: Pixels) -> list[Floats]:
        """All outputs for a picture, shape (height, width, 3), BGR."""
        blob = np.empty((1, 3, *picture.shape[:2]), np.float32)
        for plane, channel in zip(blob[0], (2, 1, 0), strict=True):
            # A table for each channel is four times as fast as OpenCV's blobFromImage on large pictures.
            cv2.LUT(cv2.extractChannel(picture, channel), self._scaled, dst=plane)
        return self.infer(blob)

    def infer(self, blob: Floats) -> list[Floats]:
        """All outputs for what the network itself takes, shape (1, 3, height, width)."""
        found: list[Floats] = self._session.run(self._outputs, {self._input: blob})
        return found
