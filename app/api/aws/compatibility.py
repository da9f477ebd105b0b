"""What of Rekognition's contract is served, from botocore's service model: docs/compatibility.md.

python -m app.api.aws.compatibility > docs/compatibility.md
"""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore

from app.api.aws import shapes
from app.api.aws.operations import OPERATIONS

_MODEL = Path(botocore.__file__).parent / "data/rekognition/2016-06-27/service-2.json.gz"

# Members that answers leave out, by shape, and why.
NO_MODEL = "no model of the pack tells it"
NOT_MEASURED = "nothing here to measure an answer against"
NOT_ANSWERED: dict[str, dict[str, str]] = {
    "FaceDetail": dict.fromkeys(
        ("Smile", "Eyeglasses", "Sunglasses", "Beard", "Mustache", "Emotions"), NO_MODEL
    )
    | dict.fromkeys(("FaceOccluded", "EyeDirection"), NOT_MEASURED),
    "ComparedFace": dict.fromkeys(("Emotions", "Smile"), NO_MODEL),
    "DetectFacesResponse": {"OrientationCorrection": "Rekognition does not answer it either"},
    "IndexFacesResponse": {"OrientationCorrection": "Rekognition does not answer it either"},
    "CompareFacesResponse": dict.fromkeys(
        ("SourceImageOrientationCorrection", "TargetImageOrientationCorrection"),
        "Rekognition does not answer it either",
    ),
}

# Members that answers have with some model packs only.
WITH_AGE_MODEL = "with the packs buffalo_l, buffalo_s and antelopev2"
WITH_106_POINTS = "with all packs but opencv"
SOMETIMES = {
    "FaceDetail": dict.fromkeys(("AgeRange", "Gender"), WITH_AGE_MODEL)
    | dict.fromkeys(("EyesOpen", "MouthOpen"), WITH_106_POINTS)
    | {"Landmarks": "30 points, 5 with the pack opencv"}
}


def service_model() -> dict[str, Any]:
    """botocore's service-2.json of Rekognition."""
    model: dict[str, Any] = json.loads(gzip.decompress(_MODEL.read_bytes()))
    return model


def page() -> str:
    """The table of operations as Markdown."""
    model = service_model()
    rows = []
    for name in sorted(model["operations"]):
        if name not in OPERATIONS:
            rows.append(f"| {name} | absent | |")
            continue
        missing = sorted(set(_missing(model["shapes"], f"{name}Response")))
        state, what = ("partial", "; ".join(missing)) if missing else ("done", "")
        rows.append(f"| {name} | {state} | {what} |")
    table = "\n".join(rows)
    return f"""# Compatibility with Amazon Rekognition

Made from botocore's service model by `python -m app.api.aws.compatibility`; a test keeps it up to date.
Requests are taken with every member, range, pattern and enum of the model. *partial*: the members named are
missing in answers. {_sometimes()}

| operation | state | what is missing |
|---|---|---|
{table}
"""


def _sometimes() -> str:
    notes = (
        f"`{shape}.{member}`: {when}."
        for shape, members in SOMETIMES.items()
        for member, when in members.items()
    )
    return "\n".join(notes)


def _missing(model: dict[str, Any], name: str) -> list[str]:
    """Members that an answer of this shape leaves out, except those that Rekognition leaves out too."""
    found = [
        f"{name}.{member} ({why})"
        for member, why in NOT_ANSWERED.get(name, {}).items()
        if "does not answer it" not in why
    ]
    ours = getattr(shapes, name, None)
    answered = {field.alias for field in ours.model_fields.values()} if ours else set()
    for member, reference in model[name].get("members", {}).items():
        inner = reference["shape"]
        while model[inner]["type"] == "list":
            inner = model[inner]["member"]["shape"]
        if member in answered and model[inner]["type"] == "structure":
            found += _missing(model, inner)
    return found


if __name__ == "__main__":
    print(page(), end="")
