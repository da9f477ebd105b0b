"""Rekognition's QualityFilter: which faces are too poor to be indexed or searched with, and why."""

from app.domain import Face, QualityLevel

# Least confidence (0..100) and least side of the box in pixels at each level.
_BOUNDS = {
    QualityLevel.NONE: (0.0, 0.0),
    QualityLevel.AUTO: (50.0, 20.0),
    QualityLevel.LOW: (50.0, 20.0),
    QualityLevel.MEDIUM: (60.0, 32.0),
    QualityLevel.HIGH: (70.0, 48.0),
}


def reasons_against(face: Face, level: QualityLevel) -> tuple[str, ...]:
    """Rekognition's reasons why a face fails a level; empty when it passes."""
    confidence, side_px = _BOUNDS[level]
    reasons = []
    if face.confidence < confidence:
        reasons.append("LOW_CONFIDENCE")
    if face.side_px < side_px:
        reasons.append("SMALL_BOUNDING_BOX")
    return tuple(reasons)
