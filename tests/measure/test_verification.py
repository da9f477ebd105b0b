"""The measuring code itself, on data whose answer is known."""

import numpy as np
import pytest

from app.measure import detection, scores, verification
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


def test_recall_at_a_number_of_false_positives_drops_what_scores_no_more_than_the_next_one() -> None:
    truth = np.array([[0, 0, 50, 50], [200, 200, 100, 100], [400, 400, 100, 100]], dtype=float)
    photo = AnnotatedPhoto(path=None, boxes=truth, valid=np.ones(3, bool))  # type: ignore[arg-type]  # no file is read
    nowhere = np.array([[700, 700, 60, 60], [900, 700, 60, 60]], dtype=float)
    seen = Found(np.vstack([truth, nowhere]), np.array([0.9, 0.6, 0.3, 0.8, 0.5]), 1920, 1080)
    points = detection.at_false_positives([photo], [seen], (0, 1, 2))
    assert [(at.allowed, at.above) for at in points] == [(0, 0.8), (1, 0.5), (2, 0.0)]
    found = [[(recall.from_px, recall.faces, recall.found) for recall in at.recalls] for at in points]
    assert found[0] == [(20, 3, 1), (40, 3, 1), (80, 2, 0)]
    assert found[1] == [(20, 3, 2), (40, 3, 2), (80, 2, 1)]
    assert found[2] == [(20, 3, 3), (40, 3, 3), (80, 2, 2)]


def _turned(*degrees: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Unit vectors in the plane, so that cosines are known."""
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def test_rates_at_a_cosine_are_counted_over_all_pairs() -> None:
    vectors, people = _turned(0, 10, 20, 100, 105, 240), np.array([0, 0, 1, 1, 2, 3])
    tail = verification.impostor_tail(vectors, people, -1.0)
    genuine = verification.genuine_pairs(vectors, people)
    assert (tail.total, len(tail.cosines), len(genuine.cosines)) == (13, 13, 2)
    near, far = verification.fixed_points(tail, genuine, people, [0.9, 0.999])
    # 10 and 20 degrees, 0 and 20, 100 and 105 are strangers; 20 and 100 are one person.
    assert near.false_matches == 3
    assert near.fmr.value == pytest.approx(3 / 13)
    assert near.fmr.low <= near.fmr.value <= near.fmr.high
    assert near.tar is not None
    assert near.tar.value == 0.5
    assert (far.false_matches, far.fmr.value) == (0, 0)
    assert far.fmr.high == pytest.approx(3 / 13)
    assert far.tar is not None
    assert far.tar.value == 0


def test_without_genuine_pairs_there_is_no_true_match_rate() -> None:
    vectors, people = _turned(0, 10, 90), np.arange(3)
    tail = verification.impostor_tail(vectors, people, -1.0)
    (point,) = verification.fixed_points(tail, verification.genuine_pairs(vectors, people), people, [0.9])
    assert (point.false_matches, point.tar) == (1, None)
    assert point.fmr.value == pytest.approx(1 / 3)


def test_shares_of_scores_add_up_and_det_goes_from_all_to_one_false_match() -> None:
    draw = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 3)
    vectors = draw.normal(size=(40, 16))[people] + 0.4 * draw.normal(size=(120, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    genuine = verification.genuine_pairs(vectors, people)
    spread = scores.spread(vectors, people, genuine)
    for shares in (spread.histogram.impostor, spread.histogram.genuine):
        assert len(shares) * spread.histogram.width == 2
        assert sum(shares) == pytest.approx(1)
    fmr, fnmr = [point.fmr for point in spread.det], [point.fnmr for point in spread.det]
    assert fmr == sorted(fmr, reverse=True)
    assert fnmr == sorted(fnmr)
    assert (fmr[0], fnmr[0]) == (1, 0)
    tail = verification.impostor_tail(vectors, people, -1.0)
    for point in spread.det:
        at = verification.fixed_points(tail, genuine, people, [point.cosine])[0]
        assert at.tar is not None
        assert at.fmr.value == pytest.approx(point.fmr)
        assert 1 - at.tar.value == pytest.approx(point.fnmr)
