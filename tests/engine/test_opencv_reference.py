"""YuNet and SFace are held equal to OpenCV's own classes for them, on the same picture."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain import Pixels
from app.engine.look import Found, best_first
from app.engine.networks import open_detector, open_embedder
from app.engine.yunet import Yunet
from app.images.decode import decode
from app.measure.engine import LIMITS
from tests import opencv_pack, photos


@pytest.fixture(scope="module")
def group() -> Pixels:
    return decode(photos.group(), LIMITS)


def test_the_wheel_carries_the_published_yunet() -> None:
    data = opencv_pack.yunet().read_bytes()
    assert hashlib.sha256(data).hexdigest() == opencv_pack.OPENCV.detector.sha256


# Not only the 640 x 640 that the file names.
@pytest.mark.parametrize("size", [(640, 640), (640, 480), (1280, 896), (128, 96), (2560, 1792)])
@pytest.mark.parametrize("score", [0.1, 0.5, 0.6])
def test_detection_is_opencvs(group: Pixels, size: tuple[int, int], score: float) -> None:
    canvas = np.asarray(cv2.resize(group, size, interpolation=cv2.INTER_AREA), np.uint8)
    path = opencv_pack.yunet()
    # Its suppression cuts boxes to whole pixels, so it is left out there, and ours is done to what it found.
    _, rows = cv2.FaceDetectorYN.create(str(path), "", size, score, 1.0, 50_000).detect(canvas)
    assert rows is not None
    every = np.asarray(rows, np.float32)
    boxes = np.hstack([every[:, :2], every[:, :2] + every[:, 2:4]])
    theirs = best_first([Found(boxes, every[:, 14], every[:, 4:14].reshape(-1, 5, 2))])
    found = Yunet(path).look(canvas, score)
    assert len(found.scores) == len(theirs.scores)
    np.testing.assert_allclose(found.scores, theirs.scores, atol=1e-5)
    np.testing.assert_allclose(found.boxes, theirs.boxes, atol=1e-2)
    np.testing.assert_allclose(found.points, theirs.points, atol=1e-2)


def test_vectors_are_opencvs(group: Pixels, tmp_path: Path) -> None:
    folder = opencv_pack.models(tmp_path)
    pack = opencv_pack.OPENCV
    reference = cv2.FaceRecognizerSF.create(str(folder / pack.recogniser.name), "")
    ours = open_embedder(pack, folder)
    found = open_detector(pack, folder).look(group[:864], 0.7)
    assert len(found.scores) == 6
    for box, points in zip(found.boxes, found.points, strict=True):
        row = np.hstack([box[:2], box[2:] - box[:2], points.ravel()]).reshape(1, -1)
        theirs = reference.feature(reference.alignCrop(group, row)).ravel()
        vector, length = ours.embed(group, points)
        assert vector.shape == (128,)
        assert vector @ theirs / np.linalg.norm(theirs) > 0.9999
        assert length == pytest.approx(np.linalg.norm(theirs), rel=0.01)
