"""The measuring code itself, on data whose answer is known."""

import numpy as np
import pytest

from app.measure import detection, verification
from app.measure.datasets import AnnotatedPhoto
from app.measure.detection import Found


def test_rates_of_a_made_up_population() -> None:
    """People as random directions: impostor cosines are normal with deviation 1/sqrt(d)."""
    draw = np.random.default_rng(0)
    people = np.repeat(np.arange(400), 3)
    directions = draw.normal(size=(400, 128))
    vectors = directions[people] + 0.5 * draw.normal(size=(1200, 128))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    tail = verification.impostor_tail(vectors, people)
    assert tail.total == 1200 * 1199 // 2 - 400 * 3
    genuine = verification.genuine_pairs(vectors, people)
    assert len(genuine.cosines) == 400 * 3
    assert genuine.cosines.min() > 0.6
    (point,) = verification.operating_points(tail, genuine, people, [1e-3])
    assert point.cosine.value == pytest.approx(3.09 / np.sqrt(128), abs=0.02)
    assert point.cosine.low < point.cosine.value < point.cosine.high
    assert point.tar.value == 1


def test_at_most_20_pairs_a_person_are_genuine() -> None:
    vectors = np.eye(30, dtype=np.float32)
    assert len(verification.genuine_pairs(vectors, np.zeros(30, dtype=np.intp)).cosines) == 20


def test_accuracy_of_separable_and_of_random_scores() -> None:
    same = np.arange(1000) % 2 == 0
    assert verification.best_accuracy(np.where(same, 1.0, 0.0), same).value == 1
    noise = np.random.default_rng(1).normal(size=1000)
    assert verification.best_accuracy(noise, same).value == pytest.approx(0.5, abs=0.08)


def test_recall_false_positives_and_doubles_are_counted() -> None:
    truth = np.array([[0, 0, 50, 50], [200, 200, 100, 100], [400, 400, 100, 100]], dtype=float)
    photo = AnnotatedPhoto(path=None, boxes=truth, valid=np.array([True, True, False]))  # type: ignore[arg-type]  # no file is read
    seen = np.array([[1, 1, 50, 50], [3, 3, 50, 50], [400, 400, 100, 100], [700, 700, 60, 60]], dtype=float)
    report = detection.compare([photo], [Found(seen, np.ones(4), 1920, 1080)])
    shares = {(recall.from_px, recall.faces, recall.found) for recall in report.recalls}
    assert {(40, 1, 1), (80, 1, 0), (40, 2, 1)} <= shares
    assert report.false_positives == 1
    assert report.doubles == 1
