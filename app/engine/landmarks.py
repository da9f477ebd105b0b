"""The 106 points of a face and Rekognition's landmarks among them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Landmark, Pixels
from app.engine.crops import run_upright
from app.engine.detector import Detection
from app.engine.model import Model
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scaling import RAW

FIVE_POINTS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")

LEFT_LIDS = (35, 41, 40, 42, 39, 37, 33, 36)
RIGHT_LIDS = (89, 95, 94, 96, 93, 91, 87, 90)

# Which of the 106 points make up a landmark; more than one are averaged. Left is the image's left. The
# model names none: the indices were read off the mean shape of 6,703 faces.
LANDMARKS: dict[str, tuple[int, ...]] = {
    "eyeLeft": LEFT_LIDS,
    "eyeRight": RIGHT_LIDS,
    "nose": (86,),
    "mouthLeft": (52,),
    "mouthRight": (61,),
    "leftEyeBrowLeft": (43,),
    "leftEyeBrowRight": (46, 50),
    "leftEyeBrowUp": (49,),
    "rightEyeBrowLeft": (97, 102),
    "rightEyeBrowRight": (101,),
    "rightEyeBrowUp": (104,),
    "leftEyeLeft": (35,),
    "leftEyeRight": (39,),
    "leftEyeUp": (40,),
    "leftEyeDown": (33,),
    "rightEyeLeft": (89,),
    "rightEyeRight": (93,),
    "rightEyeUp": (94,),
    "rightEyeDown": (87,),
    "noseLeft": (77,),
    "noseRight": (83,),
    "mouthUp": (71,),
    "mouthDown": (53,),
    "leftPupil": (38,),
    "rightPupil": (88,),
    "upperJawlineLeft": (1,),
    "midJawlineLeft": (16,),
    "chinBottom": (0,),
    "midJawlineRight": (32,),
    "upperJawlineRight": (17,),
}


class Landmarker:
    """insightface's 106-point model."""

    def __init__(self, path: Path, runtime: Runtime = ONNX_RUNTIME) -> None:
        self._model = Model(runtime.open_of_one_size(path, RAW))

    def points(self, image: Pixels, detection: Detection) -> NDArray[np.float32]:
        """The points of a face in pixels of the image, shape (106, 2)."""
        found, matrix = run_upright(self._model, image, detection)
        points = (found.reshape(-1, 2) + 1) * (self._model.side / 2)
        back = cv2.invertAffineTransform(matrix)
        return np.asarray(points @ back[:, :2].T + back[:, 2], dtype=np.float32)


def five(points: NDArray[np.float32], width: int, height: int) -> tuple[Landmark, ...]:
    """Rekognition's landmarks from the detector's points in pixels, shape (5, 2)."""
    return tuple(
        Landmark(name, x / width, y / height)
        for name, (x, y) in zip(FIVE_POINTS, points.tolist(), strict=True)
    )


def thirty(points: NDArray[np.float32], width: int, height: int) -> tuple[Landmark, ...]:
    """Rekognition's landmarks from 106 points in pixels, shape (106, 2)."""
    found = []
    for name, indices in LANDMARKS.items():
        x, y = points[list(indices)].mean(axis=0)
        found.append(Landmark(name, float(x) / width, float(y) / height))
    return tuple(found)
