"""Rekognition's QualityFilter: which faces are too poor to be indexed or searched with, and why.

The bounds come from 841 LFW faces, blurred, noisy, dark and small on purpose: at each level the faces that
it removes are missed several times as often as those that it keeps. docs/accuracy.md has the figures.
"""

from typing import NamedTuple

from app.domain import Face, QualityLevel


class _Bounds(NamedTuple):
    """`strength` is the length of the network's vector over its usual length; angles are degrees."""

    confidence: float
    side_px: float
    sharpness: float
    brightness: float
    yaw: float
    pitch: float
    strength: float


_LOW = _Bounds(95, 16, 3, 2.5, 75, 60, 0.62)
# No photo of LFW shows that a turned head costs matches up to 50 degrees: the pose bounds stay far outside.
_BOUNDS = {
    QualityLevel.AUTO: _LOW,
    QualityLevel.LOW: _LOW,
    QualityLevel.MEDIUM: _Bounds(98.6, 20, 5, 4, 60, 45, 0.70),
    QualityLevel.HIGH: _Bounds(99.6, 32, 8, 8, 45, 35, 0.80),
}


def reasons_against(face: Face, level: QualityLevel) -> tuple[str, ...]:
    """Rekognition's reasons why a face fails a level, as far as it was measured; empty when it passes."""
    bounds = _BOUNDS.get(level)
    if bounds is None:
        return ()
    pose = face.details.pose if face.details else None
    seen = face.quality
    failed = {
        "LOW_CONFIDENCE": face.confidence < bounds.confidence,
        "SMALL_BOUNDING_BOX": face.side_px < bounds.side_px,
        "LOW_SHARPNESS": seen is not None and seen.sharpness < bounds.sharpness,
        "LOW_BRIGHTNESS": seen is not None and seen.brightness < bounds.brightness,
        "EXTREME_POSE": pose is not None and (abs(pose.yaw) > bounds.yaw or abs(pose.pitch) > bounds.pitch),
        "LOW_FACE_QUALITY": face.strength is not None and face.strength < bounds.strength,
    }
    return tuple(reason for reason, fails in failed.items() if fails)


def flaws(face: Face) -> int:
    """How many of the levels a face fails, 0..3: which of many faces are the poorest."""
    levels = (QualityLevel.LOW, QualityLevel.MEDIUM, QualityLevel.HIGH)
    return sum(bool(reasons_against(face, level)) for level in levels)
