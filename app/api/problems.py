"""Errors of the REST and member doors: problem JSON (RFC 9457) with a code."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from app.api.notes import note
from app.errors import (
    InvalidParameterException,
    ServiceError,
    ServiceUnavailableError,
    ThrottlingException,
)

MEDIA_TYPE = "application/problem+json"
_HTTP_CODES = {404: "NotFound", 405: "MethodNotAllowed"}


class Problem(BaseModel):
    """What every error of the REST and member doors looks like."""

    type: str = "about:blank"
    title: str = Field(examples=["InvalidParameterException"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["There are no faces in the image. Should be at least 1."])
    code: str = Field(examples=["InvalidParameterException"], description="The AWS error code")
    reason: str | None = Field(default=None, examples=["NoFaceFound"], description="A finer code")


def response(error: ServiceError) -> JSONResponse:
    """The answer to a client whose request failed."""
    problem = Problem(
        title=error.code, status=error.http_status, detail=error.detail, code=error.code, reason=error.reason
    )
    headers = {}
    if isinstance(error, ThrottlingException | ServiceUnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _json(problem, headers)


def _json(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE)


def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    note(request.scope, code=error.code)
    return response(error)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in error.errors()]
    return _service_error(request, InvalidParameterException("; ".join(found), reason="InvalidField"))


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "InvalidRequest")
    problem = Problem(title=code, status=error.status_code, detail=str(error.detail), code=code)
    return _json(problem, dict(error.headers or {}))


def _gone(_: Request, __: Exception) -> Response:
    # Nobody hears it; without an answer the server would count an error of its own.
    return Response(status_code=400)


def install(app: FastAPI) -> None:
    """Let every error of an app end as a problem."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
