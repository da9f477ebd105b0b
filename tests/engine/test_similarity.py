"""Cosine to Similarity and back."""

import pytest

from app.engine.packs import PACKS
from app.engine.similarity import SimilarityCurve


@pytest.fixture(params=PACKS)
def curve(request: pytest.FixtureRequest) -> SimilarityCurve:
    return SimilarityCurve.of(PACKS[request.param])


def test_similarity_rises_with_the_cosine_from_0_to_100(curve: SimilarityCurve) -> None:
    values = [curve.similarity(cosine / 1000) for cosine in range(-1000, 1001)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 100)


def test_a_threshold_lets_exactly_those_pass_that_show_it(curve: SimilarityCurve) -> None:
    for percent in (0.5, 10, 55, 70, 79.9, 80, 90, 99, 99.9, 100):
        cosine = curve.cosine(percent)
        assert curve.similarity(cosine) == pytest.approx(percent)
        assert curve.similarity(cosine - 0.001) < percent


def test_threshold_0_lets_everything_pass_and_100_the_identical(curve: SimilarityCurve) -> None:
    assert curve.cosine(0) == -1
    assert curve.cosine(100) < 0.999


def test_fitted_rates_stand_at_their_percentages() -> None:
    curve = SimilarityCurve.of(PACKS["mobile"])
    assert curve.cosine(80) == pytest.approx(0.2792, abs=1e-4)
    assert curve.cosine(90) == pytest.approx(0.3275, abs=1e-4)
    assert curve.cosine(99) == pytest.approx(0.3682, abs=1e-4)
