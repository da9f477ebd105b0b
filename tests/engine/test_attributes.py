"""What the 106 points tell: landmarks, pose, open eyes and mouths; age and gender from a generated model."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from insightface.data import get_object
from numpy.typing import NDArray
from onnx import TensorProto, helper

from app.domain import AgeRange, Detail, Details, Embed, Gender, Look, Pixels, Pose, WholePicture
from app.engine.attributes import eyes_open, mouth_open
from app.engine.landmarks import LANDMARKS
from app.engine.packs import GENDER_AGE, PACKS, POINTS_106, folder_of
from app.engine.pipeline import Pipeline
from app.engine.pose import HEAD_5, HEAD_106, pose_of_106, pose_of_five
from app.images.decode import decode
from app.measure.engine import LIMITS, LocalEngine
from app.metrics import Metrics
from tests import photos

# insightface's 68-point mean head: an index of the 106 points, and the point of that head at its place.
SAME_PLACE = {35: 36, 39: 39, 89: 42, 93: 45, 72: 27, 73: 28, 74: 29, 86: 30, 80: 33, 52: 48, 61: 54, 71: 51}


def portrait() -> Pixels:
    return decode(photos.astronaut(), LIMITS)


def details_in(engine: LocalEngine, image: Pixels) -> Details:
    (face,) = engine.pipeline.analyse(WholePicture(image), Look(Embed.NONE, 10, detail=Detail.POINTS))
    assert face.details is not None
    return face.details


def rotated(image: Pixels, clockwise: float) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -clockwise, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height)), dtype=np.uint8)


@pytest.mark.parametrize("degrees", [-60, -30, -15, 15, 30, 60])
def test_pose_follows_the_turning_of_the_picture(engine: LocalEngine, degrees: float) -> None:
    before = details_in(engine, portrait()).pose
    turned = details_in(engine, rotated(portrait(), degrees)).pose
    assert turned.roll - before.roll == pytest.approx(degrees, abs=1.5)
    assert turned.yaw == pytest.approx(before.yaw, abs=3)
    assert turned.pitch == pytest.approx(before.pitch, abs=3)


def test_a_mirrored_face_has_the_opposite_yaw_and_roll(engine: LocalEngine) -> None:
    before = details_in(engine, portrait()).pose
    mirrored = details_in(engine, np.ascontiguousarray(portrait()[:, ::-1])).pose
    assert mirrored.yaw == pytest.approx(-before.yaw, abs=4)
    assert mirrored.roll == pytest.approx(-before.roll, abs=2)
    assert mirrored.pitch == pytest.approx(before.pitch, abs=4)


def projected(head: NDArray[np.float64], pose: Pose) -> NDArray[np.float32]:
    """A head turned by known angles and seen from afar."""
    r, y, p = np.radians([pose.roll, pose.yaw, pose.pitch])
    around_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    around_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    seen = (around_z @ around_y @ around_x @ head.T).T[:, :2]
    return np.asarray(3 * seen + 200, dtype=np.float32)


def as_106(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of a head in their places among the 106."""
    all_points = np.zeros((106, 2), np.float32)
    all_points[list(HEAD_106)] = points
    return all_points


@pytest.mark.parametrize("roll", [-60, 0, 100])
@pytest.mark.parametrize("yaw", [-40, -10, 0, 25])
@pytest.mark.parametrize("pitch", [-20, 0, 30])
def test_pose_of_a_projected_head_is_found(roll: float, yaw: float, pitch: float) -> None:
    pose = Pose(roll, yaw, pitch)
    of_106 = pose_of_106(as_106(projected(50 * np.array(list(HEAD_106.values())), pose)))
    of_five = pose_of_five(projected(HEAD_5, pose))
    for found in (of_106, of_five):
        assert found.roll == pytest.approx(roll, abs=1.5)
        assert found.yaw == pytest.approx(yaw, abs=1.5)
        assert found.pitch == pytest.approx(pitch, abs=1.5)


@pytest.mark.parametrize("yaw", [-50, -30, -10, 0, 20, 40])
def test_yaw_of_somebody_elses_head_is_found(yaw: float) -> None:
    mean = np.asarray(get_object("meanshape_68.pkl"), dtype=np.float64)
    head = np.array([mean[SAME_PLACE[index]] for index in HEAD_106]) * [100, 100, -100]
    found = pose_of_106(as_106(projected(head, Pose(0, yaw, 0))))
    assert found.yaw == pytest.approx(yaw, abs=4)


def test_the_thirty_landmarks_lie_where_their_names_say(engine: LocalEngine) -> None:
    at = {point.type: point for point in details_in(engine, portrait()).landmarks}
    assert list(at) == list(LANDMARKS)
    for side, other in (("left", "Left"), ("right", "Right")):
        eye = [at[f"{side}Eye{where}"] for where in ("Left", "Right", "Up", "Down")]
        assert eye[0].x < at[f"eye{other}"].x < eye[1].x
        assert eye[2].y < at[f"{side}Pupil"].y < eye[3].y
        assert at[f"{side}EyeBrowUp"].y < eye[2].y
        assert at[f"{side}EyeBrowLeft"].x < at[f"{side}EyeBrowUp"].x < at[f"{side}EyeBrowRight"].x
    across = ("upperJawlineLeft", "leftEyeLeft", "leftEyeRight", "nose", "rightEyeLeft", "rightEyeRight")
    assert [at[name].x for name in across] == sorted(at[name].x for name in across)
    down = ("leftEyeDown", "nose", "mouthUp", "mouthDown", "chinBottom")
    assert [at[name].y for name in down] == sorted(at[name].y for name in down)
    assert at["noseLeft"].x < at["nose"].x < at["noseRight"].x
    assert at["mouthLeft"].x < at["mouthUp"].x < at["mouthRight"].x
    assert at["upperJawlineLeft"].y < at["midJawlineLeft"].y < at["chinBottom"].y
    assert at["midJawlineLeft"].x < at["mouthLeft"].x < at["mouthRight"].x < at["midJawlineRight"].x


def test_the_landmarks_agree_with_the_detector(engine: LocalEngine) -> None:
    for face in engine.pipeline.analyse(
        WholePicture(decode(photos.group(), LIMITS)), Look(Embed.NONE, 10, detail=Detail.POINTS)
    ):
        assert face.details is not None
        better = {point.type: point for point in face.details.landmarks}
        for point in face.landmarks:
            assert abs(better[point.type].x - point.x) < 0.15 * face.box.width
            assert abs(better[point.type].y - point.y) < 0.15 * face.box.height


def test_a_smile_with_teeth_is_an_open_mouth_and_open_eyes_are_open(engine: LocalEngine) -> None:
    details = details_in(engine, portrait())
    assert details.eyes_open.value
    assert details.mouth_open.value
    assert details.mouth_open.confidence > 90


def test_lids_and_lips_together_are_closed() -> None:
    points = np.zeros((106, 2), np.float32)
    for index, x in ((35, 0), (39, 30), (89, 60), (93, 90), (52, 20), (61, 70)):
        points[index] = (x, 50)
    for index, x in ((40, 15), (33, 15), (41, 8), (36, 8), (42, 22), (37, 22)):
        points[index] = (x, 50)
        points[{40: 94, 33: 87, 41: 95, 36: 90, 42: 96, 37: 91}[index]] = (x + 60, 50)
    points[[62, 60]] = (45, 50)
    assert not eyes_open(points).value
    assert eyes_open(points).confidence == pytest.approx(99.9, abs=0.1)
    assert not mouth_open(points).value
    assert mouth_open(points).confidence == pytest.approx(99.8, abs=0.1)
    points[[40, 41, 42, 94, 95, 96], 1] = 40
    points[62, 1] = 40
    assert eyes_open(points).value
    assert eyes_open(points).confidence == pytest.approx(100, abs=0.1)
    assert mouth_open(points).value
    assert mouth_open(points).confidence == pytest.approx(99.9, abs=0.1)


def gender_age_model(path: Path, answer: list[float]) -> None:
    """A model with the inputs and outputs of insightface's, and one answer to everything."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "answer"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "genderage",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 96, 96])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [3, 3], [0.0] * 9),
            helper.make_tensor("answer", TensorProto.FLOAT, [3], answer),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("answer", "gender", "age"),
    [
        ([0.0, 2.0, 0.34], Gender("Male", 88.08), AgeRange(27, 41)),
        ([3.0, 0.0, 0.04], Gender("Female", 95.26), AgeRange(0, 11)),
    ],
)
def test_age_and_gender_where_the_pack_has_the_model(
    tmp_path: Path, answer: list[float], gender: Gender, age: AgeRange
) -> None:
    mobile = PACKS["mobile"]
    for file in mobile.files:
        os.symlink(folder_of(mobile, Path()) / file.name, tmp_path / file.name)
    gender_age_model(tmp_path / GENDER_AGE.name, answer)
    pack = replace(mobile, others=(POINTS_106, GENDER_AGE))
    pipeline = Pipeline(pack, tmp_path, 0.5, Metrics())
    (face,) = pipeline.analyse(WholePicture(portrait()), Look(Embed.NONE, 10, detail=Detail.AGE_AND_GENDER))
    assert face.details is not None
    assert face.details.gender is not None
    assert face.details.gender.value == gender.value
    assert face.details.gender.confidence == pytest.approx(gender.confidence, abs=0.01)
    assert face.details.age == age
    (face,) = pipeline.analyse(WholePicture(portrait()), Look(Embed.NONE, 10, detail=Detail.POINTS))
    assert face.details is not None
    assert face.details.gender is None
