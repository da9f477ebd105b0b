"""Request bodies of the REST and member doors: JSON and multipart with the same fields."""

import asyncio
import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.access import resources_of
from app.errors import (
    InvalidParameterException,
    SerializationException,
    ServiceError,
    UnsupportedMediaTypeException,
)

MAX_PARTS = 64
LARGE_BODY_BYTES = 64 * 1024

BodyT = TypeVar("BodyT", bound="Body")


class Body(BaseModel):
    """Fields of a request. Unknown fields are refused: a misspelt one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _InMemoryParser(MultiPartParser):
    """Keeps uploads in memory, which the body limit bounds: no photo is written to a temporary file."""

    spool_max_size = 1024**3


async def read(request: Request, model: type[BodyT], files: frozenset[str]) -> BodyT:
    """The body as `model`; multipart may bring the fields named in `files` as files.

    Raises:
        UnsupportedMediaTypeException: neither JSON nor multipart.
        SerializationException: not well formed.
        InvalidParameterException: a field is missing, unknown or out of range.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        fields = await _read_multipart(request, files)
        return _validate(model, fields)
    if kind == "application/json" or kind.endswith("+json"):
        body = await request.body()
        if len(body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(_validate_json, model, body, files)
        return _validate_json(model, body, files)
    raise UnsupportedMediaTypeException


async def _read_multipart(request: Request, files: frozenset[str]) -> dict[str, Any]:
    limit = resources_of(request).settings.max_request_bytes
    parser = _InMemoryParser(
        request.headers,
        request.stream(),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=limit,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError, UnicodeError, LookupError) as error:
        raise SerializationException("The multipart body could not be read") from error
    fields: dict[str, Any] = {}
    try:
        for name, value in form.multi_items():
            if name in fields:
                raise InvalidParameterException(f"{_shown(name)}: given twice", reason="InvalidField")
            if isinstance(value, UploadFile):
                if name not in files:
                    raise InvalidParameterException(
                        f"{_shown(name)}: no file is expected here", reason="InvalidField"
                    )
                fields[name] = await value.read()
            elif name in files:
                raise InvalidParameterException(
                    f"{_shown(name)}: send it as a file (curl -F {_shown(name)}=@photo.jpg)",
                    reason="InvalidField",
                )
            else:
                fields[name] = value
    finally:
        await form.close()
    return fields


def _validate(model: type[BodyT], fields: dict[str, Any]) -> BodyT:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        refusal = _refusal(error)
    raise refusal


def _validate_json(model: type[BodyT], body: bytes, files: frozenset[str]) -> BodyT:
    try:
        fields = model.model_validate_json(body)
        sent = sorted(fields.model_fields_set & files)
        if sent:
            raise InvalidParameterException(f"{sent[0]}: files are sent as multipart", reason="InvalidField")
        return fields
    except ValidationError as error:
        refusal = _refusal(error)
    raise refusal


def _refusal(error: ValidationError) -> ServiceError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if any(problem["type"] == "json_invalid" for problem in found):
        return SerializationException("The body is not valid JSON")
    described = [
        ": ".join(filter(None, (".".join(_shown(str(step)) for step in problem["loc"]), problem["msg"])))
        for problem in found
    ]
    return InvalidParameterException("; ".join(described), reason="InvalidField")


def _shown(name: str) -> str:
    return re.sub(r"[^\w.-]", "?", name[:64])


def openapi(model: type[Body], files: frozenset[str]) -> dict[str, Any]:
    """The request body of `model` for the OpenAPI document, as JSON and as multipart."""
    schema = model.model_json_schema(mode="validation")
    properties = {name: field for name, field in schema["properties"].items() if name not in files}
    required = [name for name in schema.get("required", []) if name not in files]
    as_json = {**schema, "properties": properties, "required": required}
    uploads = {name: {"type": "string", "format": "binary"} for name in sorted(files)}
    as_form = {**as_json, "properties": {**uploads, **properties}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": as_json},
                "multipart/form-data": {"schema": as_form},
            },
        }
    }
