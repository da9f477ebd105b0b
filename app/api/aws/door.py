"""The Rekognition door: `POST /`, AWS JSON 1.1."""

import asyncio
import logging
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from app.api.access import confirm_role, resources_of, signer_of
from app.api.aws.operations import OPERATIONS, Call
from app.api.aws.requests import Request as Shape
from app.api.aws.validation import refusal_of
from app.errors import (
    InternalServerError,
    ServiceError,
    ServiceUnavailableError,
    UnknownOperationException,
)

log = logging.getLogger(__name__)
router = APIRouter()

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "RekognitionService."
LARGE_BODY_BYTES = 64 * 1024


@router.post("/", include_in_schema=False)
async def rekognition(request: Request) -> Response:
    """Answer one operation; what it is stands in the header X-Amz-Target."""
    request_id = str(uuid4())
    metrics = resources_of(request).metrics
    target = request.headers.get("x-amz-target", "")
    name = target.removeprefix(TARGET_PREFIX)
    known = name if target.startswith(TARGET_PREFIX) and name in OPERATIONS else "unknown"
    try:
        body = await _answer(request, known)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it
    except ServiceError as error:
        metrics.operations.labels(known, error.code).inc()
        return _error(error, request_id)
    except Exception:
        log.exception("%s failed, request %s", known, request_id)
        metrics.operations.labels(known, InternalServerError.__name__).inc()
        return _error(InternalServerError(), request_id)
    metrics.operations.labels(known, "").inc()
    return Response(body, media_type=CONTENT_TYPE, headers={"x-amzn-RequestId": request_id})


async def _answer(request: Request, name: str) -> bytes:
    signer = await signer_of(request)
    body = await request.body()
    caller = await signer.confirm(request, body)
    operation = OPERATIONS.get(name)
    if operation is None:
        raise UnknownOperationException("This service does not serve the operation of X-Amz-Target")
    confirm_role(caller, operation.role, name)
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


def _error(error: ServiceError, request_id: str) -> Response:
    status = error.http_status if isinstance(error, InternalServerError | ServiceUnavailableError) else 400
    body = {"__type": error.code, "Code": error.code, "Logref": request_id, "Message": error.message}
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.code}
    return Response(to_json(body), status, headers, CONTENT_TYPE)
