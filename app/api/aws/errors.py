"""Errors of the Rekognition door: AWS JSON 1.1."""

from uuid import uuid4

from fastapi import Response
from pydantic_core import to_json

from app import logs
from app.errors import InternalServerError, ServiceError, ServiceUnavailableError, ThrottlingException

CONTENT_TYPE = "application/x-amz-json-1.1"


def request_id() -> str:
    """Of the request at hand: the one that its log line has."""
    return logs.correlation_id() or str(uuid4())


def response(error: ServiceError) -> Response:
    """The answer to a client whose request failed."""
    status = error.http_status if isinstance(error, InternalServerError | ServiceUnavailableError) else 400
    body = {"__type": error.code, "Code": error.code, "Logref": request_id(), "Message": error.message}
    headers = {"x-amzn-RequestId": request_id(), "x-amzn-ErrorType": error.code}
    if isinstance(error, ThrottlingException | ServiceUnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    return Response(to_json(body), status, headers, CONTENT_TYPE)
