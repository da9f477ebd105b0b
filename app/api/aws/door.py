"""The Rekognition door: `POST /`, AWS JSON 1.1."""

import asyncio
import logging

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from app.api.access import confirm_address, confirm_key, confirm_role, resources_of, signer_of
from app.api.aws import errors
from app.api.aws.operations import OPERATIONS, Call
from app.api.aws.requests import Request as Shape
from app.api.aws.validation import refusal_of
from app.api.notes import note
from app.errors import (
    InternalServerError,
    ServiceError,
    UnknownOperationException,
)
from app.settings import CallClass

log = logging.getLogger(__name__)
router = APIRouter()

TARGET_PREFIX = "RekognitionService."
LARGE_BODY_BYTES = 64 * 1024


@router.post("/", include_in_schema=False)
async def rekognition(request: Request) -> Response:
    """Answer one operation; what it is stands in the header X-Amz-Target."""
    target = request.headers.get("x-amz-target", "")
    name = target.removeprefix(TARGET_PREFIX)
    known = name if target.startswith(TARGET_PREFIX) and name in OPERATIONS else "unknown"
    note(request.scope, operation=known)
    try:
        body = await _answer(request, known)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it
    except ServiceError as error:
        note(request.scope, code=error.code)
        return errors.response(error)
    except Exception:
        log.exception("%s failed in a way that nobody foresaw", known)
        note(request.scope, code=InternalServerError.__name__)
        return errors.response(InternalServerError())
    headers = {"x-amzn-RequestId": errors.request_id()}
    return Response(body, media_type=errors.CONTENT_TYPE, headers=headers)


async def _answer(request: Request, name: str) -> bytes:
    operation = OPERATIONS.get(name)
    call_class: CallClass = operation.call_class if operation else "read"
    confirm_address(request, call_class)
    signer = await signer_of(request)
    body = await request.body()
    caller = await signer.confirm(request, body)
    if operation is None:
        raise UnknownOperationException("This service does not serve the operation of X-Amz-Target")
    confirm_role(caller, operation.role, name)
    confirm_key(request, caller, call_class)
    call = Call(resources_of(request), caller)
    if len(body) > LARGE_BODY_BYTES:
        shape = await asyncio.to_thread(_read, operation.request, body)
    else:
        shape = _read(operation.request, body)
    answer = await operation.handle(call, shape)
    return answer.model_dump_json(exclude_none=True).encode()


def _read(shape: type[Shape], body: bytes) -> Shape:
    try:
        return shape.model_validate_json(body or b"{}")
    except ValidationError as error:
        refusal = refusal_of(error)
    raise refusal
