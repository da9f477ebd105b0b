"""Cosine to Similarity and back."""

import pytest

from app.engine.packs import PACKS
from app.engine.similarity import SimilarityCurve

MEMBERS = (0, 1, 2, 10, 99, 100, 101, 1_000, 2_000, 50_000, 1_000_000, 100_000_000)
TARGETS = (0.999, 0.5, 0.1, 0.01, 0.001, 1e-6, 1e-12)


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


def test_more_members_or_a_smaller_target_never_lower_the_threshold(curve: SimilarityCurve) -> None:
    table = [[curve.cosine_for_fpir(members, target) for target in TARGETS] for members in MEMBERS]
    assert all(row == sorted(row) for row in table)
    assert all(list(column) == sorted(column) for column in zip(*table, strict=True))


def test_the_threshold_lies_between_a_single_rate_of_one_in_a_thousand_and_the_strictest(
    curve: SimilarityCurve,
) -> None:
    assert curve.cosine_for_fpir(0, 0.01) == curve.cosine_for_fpir(1, 0.01) == pytest.approx(curve.cosine(70))
    assert curve.cosine_for_fpir(1, 0.999) == pytest.approx(curve.cosine(70))
    strictest = curve.cosine_for_fpir(100_000_000, 1e-12)
    assert strictest in (0.6, 0.61, 0.67)
    assert curve.cosine_for_fpir(1_000_000_000, 1e-12) == strictest


def test_three_times_the_single_rate_over_all_members_gives_the_target(curve: SimilarityCurve) -> None:
    for members in (50, 100, 2_000):
        for similarity, rate in ((80, 1e-4), (90, 1e-5), (99, 1e-6)):
            target = 1 - (1 - 3 * rate) ** members
            assert curve.cosine_for_fpir(members, target) == pytest.approx(curve.cosine(similarity))


def test_between_measured_rates_the_logarithm_of_the_rate_is_interpolated() -> None:
    curve = SimilarityCurve([(0, 0), (1, 100)], [(1e-3, 0.2), (1e-4, 0.26), (1e-5, 0.3)])
    assert curve.cosine_for_fpir(1, 3 * 10**-3.5) == pytest.approx(0.23)
    assert curve.cosine_for_fpir(1, 3 * 10**-4.5) == pytest.approx(0.28)


def test_beyond_the_lowest_rate_a_power_of_ten_costs_the_dearest_measured_step() -> None:
    curve = SimilarityCurve([(0, 0), (1, 100)], [(1e-3, 0.2), (1e-4, 0.26), (1e-5, 0.3)])
    assert curve.cosine_for_fpir(1, 3e-5) == pytest.approx(0.30)
    assert curve.cosine_for_fpir(1, 3e-6) == pytest.approx(0.36)
    assert curve.cosine_for_fpir(1, 3e-7) == pytest.approx(0.42)


@pytest.mark.parametrize("target", [-0.01, 0, 1, 2])
def test_a_target_that_is_no_rate_is_refused(curve: SimilarityCurve, target: float) -> None:
    with pytest.raises(ValueError, match="not above 0 and below 1"):
        curve.cosine_for_fpir(100, target)
