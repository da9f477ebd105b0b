"""The open-set measurement on vectors whose rates are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.packs import PACKS
from app.engine.similarity import SimilarityCurve
from app.measure.open_set import OpenSetPoint, open_set_points, rules


def _points(
    people: list[list[NDArray[np.float32]]], cosine: float, size: int, draws: int = 3
) -> list[OpenSetPoint]:
    """The points of one threshold: members of one face, then of several."""
    vectors = np.stack([photo for photos in people for photo in photos])
    numbers = np.repeat(np.arange(len(people)), [len(photos) for photos in people])
    return open_set_points(vectors, numbers, {"rule": lambda _: cosine}, sizes=[size], draws=draws)


def test_missed_wrong_and_false_answers_are_counted() -> None:
    axes = np.eye(80, dtype=np.float32)
    found = [[axes[at], axes[at]] for at in range(10)]
    missed = [[axes[at], axes[at + 20]] for at in range(10, 15)]
    # Either photo of the first is nearer to the second person than to the other photo.
    between = (axes[50] + axes[51]) / np.sqrt(2, dtype=np.float32)
    wrong = [[axes[50], axes[51]], [between, between]]
    strangers = [[axes[0]], *([axes[at]] for at in range(60, 79))]
    for point in _points(strangers + found + missed + wrong, 0.5, 17):
        assert (point.mated, point.mated_people, point.missed, point.wrong) == (51, 17, 15, 3)
        assert (point.strangers, point.stranger_people, point.false_hits) == (60, 20, 3)
        assert point.false_hit_people == 1
        assert point.fnir.value == pytest.approx(6 / 17)
        assert point.fpir.value == pytest.approx(1 / 20)
        assert point.fnir.low < point.fnir.value < point.fnir.high
        assert point.fpir.low == 0
        assert 1 / 20 < point.fpir.high < 0.4


def test_false_identifications_of_random_directions_follow_the_formula() -> None:
    """Of random directions in space, a share (1 - t) / 2 lies within the cosine t of a given one."""
    directions = np.random.default_rng(0).normal(size=(800, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    point, _ = _points([[direction, direction] for direction in directions], 0.99, 20, draws=20)
    expected = 1 - (1 - 0.005) ** 20
    assert point.fpir.low < expected < point.fpir.high
    assert point.fpir.value == pytest.approx(expected, rel=0.1)


def test_a_member_of_several_faces_is_their_normalised_mean() -> None:
    axes = np.eye(4, dtype=np.float32)
    middle = (axes[0] + axes[1] + axes[2]) / np.sqrt(3, dtype=np.float32)
    people = [[axes[0], axes[1], axes[2]], [middle], [axes[3]]]
    one, several = _points(people, 0.7, 1)
    assert (one.faces, one.false_hits) == (1, 0)
    assert (several.faces, several.false_hits) == (2, 3)


def test_without_an_error_the_upper_end_is_3_over_the_people() -> None:
    axes = np.eye(40, dtype=np.float32)
    people = [[axes[at], axes[at]] for at in range(10)] + [[axes[at]] for at in range(10, 40)]
    point, _ = _points(people, 0.5, 10)
    assert (point.fnir.value, point.fnir.low, point.fnir.high) == (0, 0, 3 / 10)
    assert (point.fpir.value, point.fpir.low, point.fpir.high) == (0, 0, 3 / 30)


def test_galleries_without_strangers_are_left_out() -> None:
    assert _points([[axis, axis] for axis in np.eye(5, dtype=np.float32)], 0.5, 5) == []


def test_the_rules_are_the_default_and_the_curve_s_threshold_at_each_target() -> None:
    curve = SimilarityCurve.of(PACKS["mobile"])
    at_1000 = {rule: threshold(1_000) for rule, threshold in rules(curve).items()}
    assert at_1000 == {
        "fixed 0.35": 0.35,
        "auto 0.01": curve.cosine_for_fpir(1_000, 0.01),
        "auto 0.001": curve.cosine_for_fpir(1_000, 0.001),
    }
