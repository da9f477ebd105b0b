"""A model of one image in, over a session of the chosen runtime."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from app.domain import Pixels
from app.engine.runtime import Floats, Runtime

ONNX_RUNTIME = Runtime()


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
        runtime: what it runs in.
    """

    def __init__(self, path: Path, scaling: Scaling, runtime: Runtime = ONNX_RUNTIME) -> None:
        self._session = runtime.open(path)
        self._scaling = scaling
        self.side = self._session.side
        """Of the square that it sees, in pixels; 0 when it takes any."""

    def run(self, picture: Pixels) -> list[Floats]:
        """All outputs for a picture, shape (height, width, 3), BGR."""
        mean, deviation = self._scaling
        blob = cv2.dnn.blobFromImage(picture, 1 / deviation, mean=(mean, mean, mean), swapRB=True)
        return self._session.run(np.asarray(blob, np.float32))
