"""Request bodies of the REST and member doors: JSON and multipart with the same fields."""

import asyncio
import re
from typing import Any, ClassVar, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.access import resources_of
from app.errors import (
    InvalidParameterException,
    SerializationException,
    ServiceError,
    UnsupportedMediaTypeException,
)

MAX_FIELDS = 64
SHOWN_PROBLEMS = 10
LARGE_BODY_BYTES = 64 * 1024
LARGEST_NUMBER = 1e15
# pydantic's words for people who don't know Python.
_WORDS = {
    "dict_type": "is not a JSON object",
    "model_type": "is not a JSON object",
    "model_attributes_type": "is not a JSON object",
    "list_type": "is not a list",
    "string_type": "is not a text",
}

BodyT = TypeVar("BodyT", bound="Body")


class Body(BaseModel):
    """Fields of a request. Unknown fields are refused: a misspelt one would be ignored in silence.

    An empty text counts as absent, as a form's empty field does and the unset variable of an app builder,
    but for the fields named in `empty_counts`.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    empty_counts: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_texts(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value != "" or name in cls.empty_counts}

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, fields: Any) -> Any:
        refuse_unstorable(fields)
        return fields


def refuse_unstorable(value: Any) -> None:
    """Refuse what PostgreSQL can't keep, at any depth: NUL characters, and numbers beyond 1e15.

    Raises:
        PydanticCustomError: there is one.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise PydanticCustomError("nul", "must not hold the character NUL")
    elif isinstance(value, dict):
        for name, inner in value.items():
            refuse_unstorable(name)
            refuse_unstorable(inner)
    elif isinstance(value, list):
        for inner in value:
            refuse_unstorable(inner)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise PydanticCustomError("number", "numbers beyond 1e15 are sent as text")


class _InMemoryParser(MultiPartParser):
    """Keeps uploads in memory, which the body limit bounds: no photo is written to a temporary file."""

    spool_max_size = 1024**3


async def read(
    request: Request,
    model: type[BodyT],
    files: frozenset[str] = frozenset(),
    many: frozenset[str] = frozenset(),
) -> BodyT:
    """The body as `model`: JSON, or multipart, which brings the fields named in `files` as files.

    Those that are also in `many` may come several times and are a list.

    Raises:
        UnsupportedMediaTypeException: neither JSON nor multipart, or multipart where there are no files.
        SerializationException: not well formed.
        InvalidParameterException: a field is missing, unknown or out of range.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data" and files:
        if options.get(b"charset", b"utf-8").lower() != b"utf-8":
            raise UnsupportedMediaTypeException("Multipart text must be UTF-8")
        return _validate(model, await _read_multipart(request, files, many))
    if kind == b"application/json" or kind.endswith(b"+json"):
        body = await request.body()
        if len(body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(_validate_json, model, body, files)
        return _validate_json(model, body, files)
    raise UnsupportedMediaTypeException(None if files else "Send the request as application/json")


async def _read_multipart(request: Request, files: frozenset[str], many: frozenset[str]) -> dict[str, Any]:
    parser = _InMemoryParser(
        request.headers,
        request.stream(),
        max_files=MAX_FIELDS,
        max_fields=MAX_FIELDS,
        max_part_size=resources_of(request).settings.max_request_bytes,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError, UnicodeError, LookupError) as error:
        raise SerializationException("The multipart body could not be read") from error
    fields: dict[str, Any] = {}
    try:
        for name, value in form.multi_items():
            if value == "" or (isinstance(value, UploadFile) and not value.filename and not value.size):
                continue  # what a browser sends for a field that was left empty
            if name in fields and name not in many:
                several = "; several photos are sent as `files`" if "files" in many else ""
                raise _wrong_field(name, f"given twice{several}")
            if isinstance(value, UploadFile):
                if name not in files:
                    raise _wrong_field(name, "no file is expected here")
                data = await value.read()
                if name in many:
                    fields.setdefault(name, []).append(data)
                else:
                    fields[name] = data
            elif name in files:
                raise _wrong_field(name, f"send it as a file (curl -F {_shown(name)}=@photo.jpg)")
            else:
                fields[name] = value
    finally:
        await form.close()
    return fields


def _wrong_field(name: str, problem: str) -> InvalidParameterException:
    return InvalidParameterException(f"{_shown(name)}: {problem}", reason="InvalidField")


def _validate(model: type[BodyT], fields: dict[str, Any]) -> BodyT:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        refusal = _refusal(error)
    raise refusal


def _validate_json(model: type[BodyT], body: bytes, files: frozenset[str]) -> BodyT:
    try:
        fields = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise SerializationException("The body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise InvalidParameterException("The body is not a JSON object", reason="InvalidField")
    if len(fields) > MAX_FIELDS:  # each unknown one would be a line of the error
        raise InvalidParameterException("The body has too many fields", reason="InvalidField")
    for name in sorted(files & fields.keys()):
        if fields.pop(name) is not None:
            raise _wrong_field(name, "files are sent as multipart")
    return _validate(model, fields)


def _refusal(error: ValidationError) -> ServiceError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    described = [
        ": ".join(
            filter(
                None,
                (
                    ".".join(_shown(str(step)) for step in problem["loc"]),
                    _WORDS.get(problem["type"], problem["msg"]),
                ),
            )
        )
        for problem in found[:SHOWN_PROBLEMS]
    ]
    return InvalidParameterException("; ".join(described), reason="InvalidField")


def _shown(name: str) -> str:
    return re.sub(r"[^\w.-]", "?", name[:64])


def openapi(
    model: type[Body],
    files: frozenset[str] = frozenset(),
    many: frozenset[str] = frozenset(),
    example: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The request body of `model` for the OpenAPI document: as JSON, and with files as multipart."""
    schema = model.model_json_schema(mode="validation")
    definitions = schema.pop("$defs", {})
    properties = {
        name: _inlined(field, definitions)
        for name, field in schema["properties"].items()
        if name not in files
    }
    required = [name for name in schema.get("required", []) if name not in files]
    as_json = {**schema, "properties": properties, "required": required}
    content: dict[str, Any] = {"application/json": {"schema": as_json}}
    if example is not None:
        content["application/json"]["example"] = example
    if files:
        upload = {"type": "string", "format": "binary"}
        uploads = {
            name: {"type": "array", "items": upload} if name in many else upload for name in sorted(files)
        }
        content["multipart/form-data"] = {"schema": {**as_json, "properties": {**uploads, **properties}}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(field: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references: what they point at has no place in the OpenAPI document."""
    if isinstance(field, list):
        return [_inlined(item, definitions) for item in field]
    if not isinstance(field, dict):
        return field
    options = field.get("anyOf", [])
    kept = [option for option in options if option.get("type") != "null"]
    if len(kept) < len(options):  # absent says the same, and importers stumble over null
        rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
        only = kept[0] if len(kept) == 1 else {"anyOf": kept}
        return _inlined({**only, **rest}, definitions)
    if "$ref" in field:
        rest = {key: value for key, value in field.items() if key != "$ref"}
        return {**_inlined(definitions[field["$ref"].rsplit("/", 1)[-1]], definitions), **rest}
    return {key: _inlined(value, definitions) for key, value in field.items()}
