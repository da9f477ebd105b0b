"""Made-up people spread like the real ones that they were fitted to."""

import numpy as np
import pytest

from app.measure.spread import Spread

PEOPLE = 3000


def test_cosines_are_distributed_as_those_of_lfw() -> None:
    """lfw-dev: photos of one person 0.45 (10 %), 0.61 (median), 0.74 (90 %); strangers 0.092 (90 %)."""
    spread, draw = Spread.load(), np.random.default_rng(3)
    people = spread.centres(draw, PEOPLE)
    one, other = spread.photos(draw, people), spread.photos(draw, people)
    assert np.linalg.norm(one, axis=1) == pytest.approx(1, abs=1e-5)
    genuine = np.quantile((one * other).sum(axis=1), [0.1, 0.5, 0.9])
    assert genuine == pytest.approx([0.45, 0.61, 0.74], abs=0.05)
    strangers = (one @ one.T)[np.triu_indices(PEOPLE, 1)]
    assert np.quantile(strangers, [0.5, 0.9, 0.999]) == pytest.approx([0.005, 0.092, 0.227], abs=0.02)


def test_fitting_finds_the_spread_that_photos_were_drawn_from() -> None:
    size, draw = 24, np.random.default_rng(4)
    wide = Spread("made up", [0] * size, [round(1e6 * 0.9**n / 10) for n in range(size)], [8_000] * size)
    people = np.repeat(np.arange(PEOPLE), 3)
    found = Spread.fit(wide.photos(draw, wide.centres(draw, PEOPLE)[people]), people, "drawn")
    # Photos are of unit length; the centres were not.
    share = sum(found.of_photos) / sum(found.of_photos + found.of_people)
    assert share == pytest.approx(sum(wide.of_photos) / sum(wide.of_photos + wide.of_people), abs=0.05)
    before = np.array(wide.of_people) / sum(wide.of_people)
    assert np.array(found.of_people) / sum(found.of_people) == pytest.approx(before, abs=0.02)
