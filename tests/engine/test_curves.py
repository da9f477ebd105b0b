"""The files that the Similarity of each pack is read off."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from app.engine.packs import PACKS, Pack
from app.engine.similarity import RATE_AT_SIMILARITY
from app.measure import fit
from app.measure.datasets import DatasetError
from app.measure.recognition import Counted, Recognition
from app.measure.scores import Histogram, Spread
from app.measure.verification import Interval, OperatingPoint

RATES = sorted(RATE_AT_SIMILARITY.values(), reverse=True)


@pytest.fixture(params=list(PACKS.values()), ids=list(PACKS))
def pack(request: pytest.FixtureRequest) -> Pack:
    found: Pack = request.param
    return found


@pytest.fixture
def curve(pack: Pack) -> dict[str, Any]:
    name = pack.recogniser.name.removesuffix(".onnx")
    found: dict[str, Any] = json.loads((files("app.engine") / "curves" / f"{name}.json").read_text())
    return found


def test_a_curve_says_whose_it_is_and_where_it_comes_from(pack: Pack, curve: dict[str, Any]) -> None:
    assert curve["recogniser"] == pack.recogniser.name.removesuffix(".onnx")
    assert curve["face_model_version"] == pack.face_model_version
    assert [similarity for _, similarity in curve["knots"]] == [0, *sorted(RATE_AT_SIMILARITY), 100]
    assert fit.origin(pack) == (curve["fitted"], curve["source"])


def test_a_fitted_curve_has_its_table_and_its_provenance_and_others_say_what_they_are(
    curve: dict[str, Any],
) -> None:
    if curve["fitted"]:
        table = curve["false_match_rates"]
        assert [row["rate"] for row in table] == RATES
        assert [[row["cosine"], fit.SIMILARITY_AT_FMR[row["rate"]]] for row in table] == curve["knots"][1:-1]
        for row in table:
            assert row["cosine_95"][0] <= row["cosine"] <= row["cosine_95"][1]
            assert row["true_match_rate_95"][0] <= row["true_match_rate"] <= row["true_match_rate_95"][1]
        made_of = curve["provenance"]
        assert made_of["impostor_pairs"] * min(RATES) >= 10
        assert made_of["photos"] >= made_of["people"] > 1
    else:
        assert curve["source"].startswith("Not fitted here")
        assert "anchor" in curve["source"]
        assert "false_match_rates" not in curve


def _found(points: int, impostor_pairs: int) -> Recognition:
    rates = [
        OperatingPoint(rate, Interval(cosine, cosine - 0.01, cosine + 0.01), Interval(0.99, 0.98, 1.0))
        for rate, cosine in zip(RATES[:points], (0.1, 0.2, 0.3, 0.4, 0.5), strict=False)
    ]
    return Recognition(
        Counted(1000, 100, 0, ("a/b.jpg",), ()),
        impostor_pairs,
        5000,
        0.6123,
        tuple(rates),
        (),
        Spread(Histogram(1.0, (), ()), ()),
        (),
        0,
        (),
    )


def test_what_is_fitted_is_written_with_its_table(tmp_path: Path) -> None:
    path = fit.write(PACKS["buffalo_l"], _found(5, 20_000_000), "some photos", 3, tmp_path)
    curve = json.loads(path.read_text())
    assert path.name == "w600k_r50.json"
    assert curve["fitted"] is True
    assert curve["knots"] == [[0, 0], [0.1, 55], [0.2, 70], [0.3, 80], [0.4, 90], [0.5, 99], [0.95, 100]]
    assert curve["false_match_rates"][2] == {
        "rate": 1e-4,
        "cosine": 0.3,
        "cosine_95": [0.29, 0.31],
        "true_match_rate": 0.99,
        "true_match_rate_95": [0.98, 1.0],
    }
    assert curve["provenance"] == {
        "detector": "det_10g",
        "people": 100,
        "photos": 1000,
        "photos_without_face": 1,
        "photos_left_out_for_wrong_labels": 3,
        "impostor_pairs": 20_000_000,
        "genuine_pairs": 5000,
    }


def test_nothing_is_written_without_the_lowest_rate(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="too few for a curve: it takes 10000000"):
        fit.write(PACKS["mobile"], _found(4, 1_000_000), "some photos", 0, tmp_path)
    assert list(tmp_path.iterdir()) == []
