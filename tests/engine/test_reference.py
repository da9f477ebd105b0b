"""The model-specific work is insightface's: held equal to its classes, on the same canvas and points."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.landmark import Landmark
from insightface.model_zoo.scrfd import SCRFD
from insightface.utils import face_align

from app.domain import Pixels
from app.engine import packs
from app.engine.crops import aligned, upright
from app.engine.detector import Detection
from app.engine.landmarks import Landmarker
from app.engine.look import SAME_IOU
from app.engine.networks import open_embedder
from app.engine.scrfd import Scrfd
from app.images.decode import decode
from app.measure.engine import LIMITS
from tests import photos


@pytest.fixture(scope="module")
def folder() -> Path:
    return packs.require("mobile", Path("unused"))[1]


@pytest.fixture(scope="module")
def group() -> Pixels:
    return decode(photos.group(), LIMITS)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(640, 480), (1280, 896), (128, 96), (2560, 1792)])
@pytest.mark.parametrize("score", [0.02, 0.2, 0.5, 0.99])
def test_detection_is_insightfaces(folder: Path, group: Pixels, size: tuple[int, int], score: float) -> None:
    canvas = np.asarray(cv2.resize(group, size, interpolation=cv2.INTER_AREA), np.uint8)
    path = folder / packs.PACKS["mobile"].detector.name
    reference = SCRFD(session=session(path))
    reference.nms_thresh = SAME_IOU
    boxes, points = reference.detect(canvas, input_size=size, det_thresh=score)
    found = Scrfd(path).look(canvas, score)
    assert len(found.scores) == len(boxes)
    np.testing.assert_allclose(found.scores, boxes[:, 4], atol=1e-6)
    np.testing.assert_allclose(found.boxes, boxes[:, :4], atol=1e-2)
    np.testing.assert_allclose(found.points, points, atol=1e-2)


@pytest.mark.parametrize("seed", range(20))
def test_alignment_is_insightfaces(group: Pixels, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = np.asarray(random.uniform(100, 800, 2) + random.normal(0, 60, (5, 2)), np.float32)
    reference = face_align.norm_crop(group, landmark=points, image_size=112)
    difference = np.abs(aligned(group, points, 112).astype(int) - reference)
    assert difference.mean() < 0.05  # what rounding does to a few pixels


def test_points_in_one_place_are_no_error(group: Pixels) -> None:
    assert aligned(group, np.full((5, 2), 300, np.float32), 112).shape == (112, 112, 3)


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 5, 90, 180])
def test_upright_crops_are_insightfaces(group: Pixels, degrees: float) -> None:
    turned = np.exp(1j * np.deg2rad(degrees)) * np.array([-30 - 10j, 30 - 10j, 0, -20 + 30j, 20 + 30j])
    points = np.stack([turned.real + 640, turned.imag + 400], axis=1).astype(np.float32)
    corners = (560.0, 300.0, 710.0, 520.0)
    crop, matrix = upright(group, Detection(corners, 0.9, points), 192)
    wide = face_align.transform(
        group, (635.0, 410.0), 192, 192 / (1.5 * 220), -np.rad2deg(np.angle(turned[1] - turned[0]))
    )
    np.testing.assert_allclose(matrix, wide[1], atol=1e-3)
    assert np.abs(crop.astype(int) - wide[0]).mean() < 0.05


def test_embeddings_and_what_models_expect_are_insightfaces(folder: Path, group: Pixels) -> None:
    path = folder / packs.PACKS["mobile"].recogniser.name
    reference = ArcFaceONNX(model_file=str(path), session=session(path))
    assert (reference.input_mean, reference.input_std) == (127.5, 127.5)
    found = Scrfd(folder / packs.PACKS["mobile"].detector.name).look(group[:864], 0.5)
    assert len(found.points) == 6
    ours = open_embedder(packs.PACKS["mobile"], folder)
    for points in found.points:
        crop = face_align.norm_crop(group, landmark=points)
        theirs = reference.get_feat(crop).ravel()
        vector, length = ours.embed(group, points)
        assert vector @ theirs / np.linalg.norm(theirs) > 0.9999
        assert length == pytest.approx(np.linalg.norm(theirs), rel=0.01)
        both = theirs + reference.get_feat(crop[:, ::-1]).ravel()
        mirrored = ours.embed(group, points, mirror=True)
        assert mirrored.vector @ both / np.linalg.norm(both) > 0.9999
        assert mirrored.length == length


def test_the_106_points_are_insightfaces(folder: Path, group: Pixels) -> None:
    path = folder / packs.POINTS_106.name
    reference = Landmark(model_file=str(path), session=session(path))
    assert (reference.input_mean, reference.input_std) == (0.0, 1.0)
    found = Scrfd(folder / packs.PACKS["mobile"].detector.name).look(group[:864], 0.5)
    box = found.boxes[0]
    level = np.array([[0, 0], [50, 0], [25, 30], [5, 50], [45, 50]], np.float32) + box[:2]
    theirs = reference.get(group, _Face(box))
    corners = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    ours = Landmarker(path).points(group, Detection(corners, 0.9, level))
    np.testing.assert_allclose(ours, theirs, atol=0.3)


class _Face(dict[str, object]):
    """insightface's face, as far as its model reads it."""

    def __init__(self, box: Pixels) -> None:
        super().__init__()
        self.bbox = box
