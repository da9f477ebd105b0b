"""DetectionAttributes: what they cost the engine, and what they show of a face."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from app.domain import Detail


class Attribute(StrEnum):
    DEFAULT = "DEFAULT"
    ALL = "ALL"
    AGE_RANGE = "AGE_RANGE"
    BEARD = "BEARD"
    EMOTIONS = "EMOTIONS"
    EYE_DIRECTION = "EYE_DIRECTION"
    EYEGLASSES = "EYEGLASSES"
    EYES_OPEN = "EYES_OPEN"
    GENDER = "GENDER"
    MOUTH_OPEN = "MOUTH_OPEN"
    MUSTACHE = "MUSTACHE"
    FACE_OCCLUDED = "FACE_OCCLUDED"
    SMILE = "SMILE"
    SUNGLASSES = "SUNGLASSES"


def _each_once(attributes: Any) -> Any:
    # A list of a million wrong ones would make an error of as many parts.
    if not isinstance(attributes, list) or not all(isinstance(item, str) for item in attributes):
        return attributes
    once = list(dict.fromkeys(attributes))
    return once[: len(Attribute) + 1]  # one more than there are holds a wrong one, if any is


Attributes: TypeAlias = Annotated[list[Attribute], BeforeValidator(_each_once)]

_OF_THE_AGE_MODEL = {Attribute.ALL, Attribute.AGE_RANGE, Attribute.GENDER}


def detail_for(asked: Sequence[Attribute] | None) -> Detail:
    """How closely the engine must look at each face."""
    return Detail.AGE_AND_GENDER if _OF_THE_AGE_MODEL.intersection(asked or ()) else Detail.POINTS


def shows(asked: Sequence[Attribute] | None, attribute: Attribute) -> bool:
    """Whether an answer has what an attribute stands for."""
    return not {Attribute.ALL, attribute}.isdisjoint(asked or ())
