"""Our request and response models against botocore's service model: every field and constraint."""

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app.api.aws import shapes
from app.api.aws.compatibility import NOT_ANSWERED, service_model
from app.api.aws.operations import OPERATIONS
from app.api.aws.shapes import Shape

SERVICE = service_model()
SHAPES: dict[str, Any] = SERVICE["shapes"]

# Constraints that are checked elsewhere, with an error of their own.
CHECKED_ELSEWHERE = {("ImageBlob", "max")}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def requests() -> list[Any]:
    return [pytest.param(name, id=name) for name in OPERATIONS]


@pytest.mark.parametrize("operation", requests())
def test_request_has_the_members_and_constraints_of_the_service_model(operation: str) -> None:
    wanted = SERVICE["operations"][operation]["input"]["shape"]
    schema = schema_of(OPERATIONS[operation].request)
    assert differences(wanted, schema, schema.get("$defs", {}), set()) == []


@pytest.mark.parametrize("operation", requests())
def test_response_has_only_members_of_the_service_model(operation: str) -> None:
    name = SERVICE["operations"][operation]["output"]["shape"]
    assert missing_and_extra(name, getattr(shapes, name), set()) == []


def differences(name: str, ours: dict[str, Any], defs: dict[str, Any], seen: set[str]) -> list[str]:
    """What differs between a shape of the service model and our JSON schema of it."""
    if name in seen:
        return []
    wanted = SHAPES[name]
    ours = resolve(ours, defs)
    found = []
    if wanted["type"] == "structure":
        members = ours.get("properties", {})
        found += [
            f"{name}: {extra} is not Rekognition's" for extra in members.keys() - wanted["members"].keys()
        ]
        if set(wanted.get("required", [])) != set(ours.get("required", [])):
            found.append(f"{name}: required {ours.get('required')}, not {wanted.get('required')}")
        for member, reference in wanted["members"].items():
            if member not in members:
                found.append(f"{name}: {member} is missing")
            else:
                found += differences(reference["shape"], members[member], defs, seen | {name})
        return found
    if wanted["type"] == "list":
        found += differences(wanted["member"]["shape"], ours["items"], defs, seen)
        bounds = {"min": "minItems", "max": "maxItems"}
    elif wanted["type"] == "map":
        bounds = {"max": "maxProperties"}
    elif wanted["type"] in ("string", "blob"):
        bounds = {"min": "minLength", "max": "maxLength", "pattern": "x-aws-pattern", "enum": "enum"}
    else:
        bounds = {"min": "minimum", "max": "maximum"}
    for theirs, key in bounds.items():
        expected, actual = wanted.get(theirs), ours.get(key)
        if theirs == "min" and wanted["type"] in ("list", "string", "map"):
            expected, actual = expected or None, actual or None
        if (name, theirs) not in CHECKED_ELSEWHERE and expected != actual:
            found.append(f"{name}: {key} is {actual}, Rekognition's {expected}")
    return found


def resolve(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """A schema without references and without the null of an optional member."""
    merged = dict(schema)
    while "$ref" in merged or "anyOf" in merged or "allOf" in merged:
        if "$ref" in merged:
            merged |= defs[merged.pop("$ref").rsplit("/", 1)[-1]]
            continue
        options = merged.pop("anyOf", None) or merged.pop("allOf")
        merged |= next(option for option in options if option.get("type") != "null")
    return merged


def missing_and_extra(name: str, ours: type[Shape], seen: set[str]) -> list[str]:
    """Members of our answer that Rekognition lacks, and those of Rekognition that we lack unsaid."""
    wanted = SHAPES[name]["members"]
    fields = {field.alias or key: field for key, field in ours.model_fields.items()}
    found = [f"{name}: {extra} is not Rekognition's" for extra in fields.keys() - wanted.keys()]
    found += [
        f"{name}: {lacking} is neither answered nor listed"
        for lacking in wanted.keys() - fields.keys() - NOT_ANSWERED.get(name, {}).keys()
    ]
    found += [
        f"{name}: {listed} is listed as not answered, but is"
        for listed in NOT_ANSWERED.get(name, {}).keys() & fields.keys()
    ]
    for member, field in fields.items():
        for inner in models_in(field.annotation):
            shape = inner_shape(wanted[member]["shape"])
            if shape not in seen:
                found += missing_and_extra(shape, inner, seen | {name})
    return found


def models_in(annotation: Any) -> list[type[Shape]]:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def inner_shape(name: str) -> str:
    while SHAPES[name]["type"] == "list":
        name = SHAPES[name]["member"]["shape"]
    return name
