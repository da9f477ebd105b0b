"""Fits a recogniser's Similarity curve to false-match rates and writes it beside the engine."""

import json
from pathlib import Path
from typing import Any

from app.engine.packs import Pack
from app.engine.similarity import RATE_AT_SIMILARITY
from app.measure.datasets import DatasetError
from app.measure.recognition import ENOUGH_FALSE_MATCHES, Recognition
from app.measure.verification import Interval

CURVES = Path(__file__).parents[1] / "engine" / "curves"
SIMILARITY_AT_FMR = {rate: similarity for similarity, rate in RATE_AT_SIMILARITY.items()}
# Below the first rate the curve falls to 0, at the cosine of unrelated vectors. Above the rate of one in a
# million it climbs to 100, which it reaches for near-identical images.
IDENTICAL = (0.95, 100.0)
UNLIKE = (0.0, 0.0)


def write(pack: Pack, found: Recognition, data: str, left_out: int, folder: Path = CURVES) -> Path:
    """Write the curve of a pack's recogniser and the table of rates that it was fitted to.

    Args:
        pack: whose recogniser made the vectors.
        found: what was measured.
        data: the name of the photos.
        left_out: how many of them were left out because their label is wrong.
        folder: where the curves lie.
    Raises:
        DatasetError: there are too few pairs for the lowest rate.
    """
    if len(found.operating_points) < len(SIMILARITY_AT_FMR):
        least = ENOUGH_FALSE_MATCHES / min(SIMILARITY_AT_FMR)
        raise DatasetError(
            f"{found.impostor_pairs} pairs of different people are too few for a curve: it takes {least:.0f}"
        )
    name = pack.recogniser.name.removesuffix(".onnx")
    knots = [(round(at.cosine.value, 4), SIMILARITY_AT_FMR[at.fmr]) for at in found.operating_points]
    document = {
        "recogniser": name,
        "face_model_version": pack.face_model_version,
        "fitted": True,
        "source": f"Fitted to {data} by `python -m app evaluate --fit`.",
        "provenance": {
            "detector": pack.detector.name.removesuffix(".onnx"),
            "people": found.counted.people,
            "photos": found.counted.photos,
            "photos_without_face": len(found.counted.without_face),
            "photos_left_out_for_wrong_labels": left_out,
            "impostor_pairs": found.impostor_pairs,
            "genuine_pairs": found.genuine_pairs,
        },
        "false_match_rates": [
            {
                "rate": at.fmr,
                "cosine": round(at.cosine.value, 4),
                "cosine_95": _rounded(at.cosine),
                "true_match_rate": round(at.tar.value, 4),
                "true_match_rate_95": _rounded(at.tar),
            }
            for at in found.operating_points
        ],
        "half_found_at": round(found.half_found_at, 2),
        "knots": sorted([UNLIKE, *knots, IDENTICAL]),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def origin(pack: Pack) -> tuple[bool, str]:
    """Whether the curve in use for a pack was fitted, and what it was drawn from."""
    path = CURVES / f"{pack.recogniser.name.removesuffix('.onnx')}.json"
    curve: dict[str, Any] = json.loads(path.read_text())
    return curve["fitted"], curve["source"]


def _rounded(figure: Interval) -> list[float]:
    return [round(figure.low, 4), round(figure.high, 4)]
