"""Who asks, what they may do, and what a handler may use."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from app.api import sigv4
from app.domain import AccessKey, Caller, Role
from app.errors import (
    AccessDeniedException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from app.resources import Resources

LARGE_BODY_BYTES = 64 * 1024
_KEY_FORM = "An access key as `ID:SECRET`; needed where AUTH is `required`"


def resources_of(request: Request) -> Resources:
    """What `create_app` opened."""
    resources: Resources = request.app.state.resources
    return resources


ResourcesNow = Annotated[Resources, Depends(resources_of)]


async def signer_of(request: Request, body: bytes) -> Caller:
    """Whose signature a request to the Rekognition door bears.

    Raises:
        MissingAuthenticationTokenException, IncompleteSignatureException, InvalidSignatureException,
        UnrecognizedClientException: none that is good.
    """
    resources = resources_of(request)
    if not resources.settings.auth_required:
        return Caller(resources.settings.account_id)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    signed = sigv4.SignedRequest(
        request.method,
        request.scope["raw_path"].decode("latin-1"),
        request.scope["query_string"].decode("latin-1"),
        headers,
        await _sha256(body),
    )
    signature = sigv4.parse(signed, datetime.now(UTC))
    key = await resources.keys.find(signature.access_key_id)
    if key is None:
        raise UnrecognizedClientException
    sigv4.verify(signed, signature, key.secret, resources.settings.root_path)
    return key.caller


def confirm_role(caller: Caller, role: Role, operation: str) -> None:
    """AccessDeniedException when a caller may not perform an operation."""
    if caller.role < role:
        raise AccessDeniedException(
            f"The key of account {caller.account_id} is not authorized to perform: rekognition:{operation}"
        )


def _needs(role: Role) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller of the REST and member doors, who must have a role."""

    async def caller(
        request: Request,
        resources: ResourcesNow,
        _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, description=_KEY_FORM))],
        _header: Annotated[
            object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description=_KEY_FORM))
        ],
    ) -> Caller:
        if not resources.settings.auth_required:
            return Caller(resources.settings.account_id)
        found = (await _bearer_of(request, resources)).caller
        confirm_role(found, role, request.scope["route"].operation_id)
        return found

    return caller


Reader = Annotated[Caller, Depends(_needs(Role.READ))]
Writer = Annotated[Caller, Depends(_needs(Role.WRITE))]
Admin = Annotated[Caller, Depends(_needs(Role.ADMIN))]


async def _bearer_of(request: Request, resources: Resources) -> AccessKey:
    """The key that `X-API-Key: ID:SECRET` or `Authorization: Bearer ID:SECRET` shows."""
    shown = request.headers.get("x-api-key")
    if shown is None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise MissingAuthenticationTokenException
    access_key_id, _, secret = shown.strip().partition(":")
    key = await resources.keys.find(access_key_id) if secret else None
    if key is None or not hmac.compare_digest(key.secret.encode(), secret.encode()):
        raise UnrecognizedClientException
    return key


async def _sha256(body: bytes) -> str:
    if len(body) > LARGE_BODY_BYTES:
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
    return hashlib.sha256(body).hexdigest()
