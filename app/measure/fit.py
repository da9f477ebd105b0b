"""Fits a recogniser's Similarity curve to false-match rates and writes it beside the engine."""

import json
from collections.abc import Sequence
from pathlib import Path

from app.engine.packs import Pack
from app.measure.verification import OperatingPoint

CURVES = Path(__file__).parents[1] / "engine" / "curves"
# What a Similarity promises: the share of comparisons of different people that score as high.
SIMILARITY_AT_FMR = {1e-2: 55.0, 1e-3: 70.0, 1e-4: 80.0, 1e-5: 90.0, 1e-6: 99.0}
# Below the first rate the curve falls to 0, at the cosine of unrelated vectors. Above the rate of one in a
# million it climbs to 100, which it reaches for near-identical images.
IDENTICAL = (0.95, 100.0)
UNLIKE = (0.0, 0.0)


def write(pack: Pack, points: Sequence[OperatingPoint], median: float, source: str) -> Path:
    """Write the curve of a pack's recogniser.

    Args:
        median: the cosine that half of the genuine pairs reach.
        source: what it was fitted to.
    """
    name = pack.recogniser.name.removesuffix(".onnx")
    knots = [(round(point.cosine.value, 4), SIMILARITY_AT_FMR[point.fmr]) for point in points]
    document = {
        "recogniser": name,
        "face_model_version": pack.face_model_version,
        "fitted": True,
        "source": source,
        "false_match_rates": [
            {
                "rate": point.fmr,
                "cosine": round(point.cosine.value, 4),
                "cosine_95": [round(point.cosine.low, 4), round(point.cosine.high, 4)],
            }
            for point in points
        ],
        "half_found_at": round(median, 2),
        "knots": sorted([UNLIKE, *knots, IDENTICAL]),
    }
    path = CURVES / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
