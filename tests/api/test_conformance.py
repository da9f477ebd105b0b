"""Each constraint of each request is violated once, as botocore's service model lists them."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.api.aws.compatibility import page, service_model
from app.api.aws.operations import OPERATIONS
from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

MODEL = service_model()
SHAPES = MODEL["shapes"]
FACE_ID = "00000000-0000-4000-8000-000000000000"
PORTRAIT = photos.encode(photos.opened(photos.astronaut()).resize((200, 200)))
IMAGE = {"Bytes": base64.b64encode(PORTRAIT).decode()}
# A value for each shape that a request may hold.
GOOD: dict[str, Any] = {
    "CollectionId": "conformance", "UserId": "anna", "FaceId": FACE_ID, "FaceIdList": [FACE_ID],
    "UserFaceIdList": [FACE_ID], "Image": IMAGE,
    "ResourceArn": "aws:rekognition:us-east-1:000000000000:collection/conformance",
    "TagMap": {"key": "value"}, "TagKeyList": ["key"],
}  # fmt: skip
CODES = {"InvalidParameterException", "ImageTooLargeException", "InvalidPaginationTokenException",
         "InvalidImageFormatException", "InvalidS3ObjectException"}  # fmt: skip


def good_request(operation: str) -> dict[str, Any]:
    """The required members, each with a value that is allowed."""
    shape = SHAPES[MODEL["operations"][operation]["input"]["shape"]]
    return {name: GOOD[shape["members"][name]["shape"]] for name in shape.get("required", [])}


def violations(name: str) -> Iterator[tuple[str, Any]]:
    """Values that break one constraint of a shape each, with the constraint's name."""
    shape = SHAPES[name]
    kind = shape["type"]
    low, high = shape.get("min"), shape.get("max")
    if kind == "string":
        if low:
            yield "min", ""
        if high:
            yield "max", "a" * (high + 1)
        if "pattern" in shape:
            broken = next((text for text in ("a b?", "\u0000", "aws:x") if not matches(shape, text)), None)
            if broken is not None:
                yield "pattern", broken
        if "enum" in shape:
            yield "enum", "NO_SUCH_VALUE"
    elif kind == "blob":
        yield "min", ""
        yield "max", base64.b64encode(bytes(high + 1)).decode()
    elif kind in ("integer", "float", "long"):
        if low is not None:
            yield "min", low - 1
        if high is not None:
            yield "max", high + 1
    elif kind == "list":
        element = GOOD.get(shape["member"]["shape"], "key")
        if low:
            yield "min", []
        if high:
            yield "max", [element] * (high + 1)
        for constraint, value in violations(shape["member"]["shape"]):
            yield f"member.{constraint}", [value]
    elif kind == "map":
        if high:
            yield "max", {f"key{number}": "" for number in range(high + 1)}
        for constraint, value in violations(shape["key"]["shape"]):
            yield f"key.{constraint}", {value: ""}
        for constraint, value in violations(shape["value"]["shape"]):
            yield f"value.{constraint}", {"key": value}
    elif kind == "structure":
        for member, reference in shape["members"].items():
            for constraint, value in violations(reference["shape"]):
                yield f"{member}.{constraint}", complete(name) | {member: value}
        for member in shape.get("required", []):
            yield f"{member}.required", {}


def matches(shape: dict[str, Any], text: str) -> bool:
    python = shape["pattern"].replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
    return bool(re.fullmatch(python, text))


def complete(name: str) -> dict[str, Any]:
    """What a structure needs beside the member that is wrong."""
    return {"Bucket": "photos", "Name": "a.jpg"} if name == "S3Object" else {}


def cases() -> Iterator[Any]:
    for operation in OPERATIONS:
        shape = SHAPES[MODEL["operations"][operation]["input"]["shape"]]
        for member in shape.get("required", []):
            left = {name: value for name, value in good_request(operation).items() if name != member}
            yield pytest.param(operation, left, id=f"{operation}-{member}-required")
        for member, reference in shape["members"].items():
            for constraint, value in violations(reference["shape"]):
                request = good_request(operation) | {member: value}
                yield pytest.param(operation, request, id=f"{operation}-{member}-{constraint}")


@pytest.fixture(scope="module", autouse=True)
def _the_collection_exists(rekognition: "RekognitionClient") -> Iterator[None]:
    rekognition.create_collection(CollectionId=GOOD["CollectionId"])
    yield
    rekognition.delete_collection(CollectionId=GOOD["CollectionId"])


@pytest.mark.parametrize(("operation", "request_body"), list(cases()))
def test_a_violated_constraint_is_refused_with_a_declared_error(
    http: httpx.Client, operation: str, request_body: dict[str, Any]
) -> None:
    answer = http.post("/", json=request_body, headers={"X-Amz-Target": f"RekognitionService.{operation}"})
    assert answer.status_code == 400
    code = answer.json()["__type"]
    assert code in {error["shape"] for error in MODEL["operations"][operation]["errors"]}
    assert code in CODES
    if code == "InvalidParameterException" and "Image" not in request_body:
        assert re.match(r"\d+ validation errors? detected: Value ", answer.json()["Message"])


def test_every_operation_has_constraints_that_were_violated() -> None:
    found = {case.values[0] for case in cases()}
    assert found == set(OPERATIONS)
    assert sum(1 for _ in cases()) > 150


def test_the_table_of_compatibility_is_up_to_date() -> None:
    assert (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text() == page()
