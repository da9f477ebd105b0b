"""Who asks, what they may do, and what a handler may use."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from app.api import sigv4
from app.domain import Caller, Role
from app.errors import (
    AccessDeniedException,
    InvalidParameterException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from app.resources import Resources
from app.service.joining import is_guest_token
from app.settings import CallClass

LARGE_BODY_BYTES = 64 * 1024
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# What is posted without an image; a test holds the list to the routes.
WITHOUT_IMAGES = frozenset(
    {"CreateAlbum", "CreateCollection", "ProcessAlbum", "RetryAlbum", "RebuildIndex", "UploadPhotos"}
)
_KEY_FORM = "An access key as `ID:SECRET`, or the token (JWT) of an app user; needed where AUTH is `required`"


def resources_of(request: Request) -> Resources:
    """What `create_app` opened."""
    resources: Resources = request.app.state.resources
    return resources


ResourcesNow = Annotated[Resources, Depends(resources_of)]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who says to have signed a request; `confirm` holds the body against the signature."""

    caller: Caller
    signature: sigv4.Signature | None = None
    secret: str = field(default="", repr=False)

    async def confirm(self, request: Request, body: bytes) -> Caller:
        """The caller; InvalidSignatureException when the signature is not of this request and body."""
        if self.signature is not None:
            signed = _signed(request, await _sha256(body))
            prefix = resources_of(request).settings.root_path
            sigv4.verify(signed, self.signature, self.secret, prefix)
        return self.caller


async def signer_of(request: Request) -> Signer:
    """Whose signature a request to the Rekognition door bears, before its body is taken in.

    Raises:
        MissingAuthenticationTokenException, IncompleteSignatureException, InvalidSignatureException,
        UnrecognizedClientException: none that could be good.
    """
    resources = resources_of(request)
    if not resources.settings.auth_required:
        return Signer(_anybody(request, resources))
    signature = sigv4.parse(_signed(request, ""), datetime.now(UTC))
    key = await resources.keys.find(signature.access_key_id)
    if key is None:
        raise UnrecognizedClientException
    return Signer(key.caller, signature, key.secret)


def _signed(request: Request, body_sha256: str) -> sigv4.SignedRequest:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return sigv4.SignedRequest(
        request.method,
        request.scope["raw_path"].decode("latin-1"),
        request.scope["query_string"].decode("latin-1"),
        headers,
        body_sha256,
    )


def _anybody(request: Request, resources: Resources) -> Caller:
    """The caller where nobody is asked.

    Raises:
        AccessDeniedException: AUTH is open by default, because the service listens on loopback, but the
            request comes from a page of another site or, through a proxy, from another machine.
    """
    settings = resources.settings
    if settings.auth is None:
        origin = request.headers.get("origin")
        forwarded = request.headers.get("x-forwarded-for", "localhost").split(",")
        hosts = [
            request.url.hostname,
            urlsplit(origin).hostname if origin else "localhost",
            *(client.strip() for client in forwarded),
        ]
        if origin in settings.cors_allowed_origins:
            hosts.pop(1)  # named by the operator
        if not all(host in LOCAL_HOSTS for host in hosts):
            raise AccessDeniedException(
                "Requests of other machines and other sites are served only when AUTH is set: "
                "to required, or to open where everybody may do everything"
            )
    return Caller(settings.account_id)


def confirm_role(caller: Caller, role: Role, operation: str) -> None:
    """AccessDeniedException when a caller may not perform an operation."""
    if caller.role < role:
        raise AccessDeniedException(
            f"The key of account {caller.account_id} is not authorized to perform: rekognition:{operation}"
        )


def call_class_of(method: str, operation_id: str) -> CallClass:
    """What a call of the REST and member doors costs: those that post something post images, mostly."""
    if method in ("GET", "HEAD"):
        return "read"
    return "image" if method == "POST" and operation_id not in WITHOUT_IMAGES else "write"


def confirm_address(request: Request, call_class: CallClass) -> None:
    """Count a call of the client's address; ThrottlingException when there were too many."""
    address = request.client.host if request.client else ""
    resources_of(request).call_rates.confirm_address(address, call_class)


def confirm_key(request: Request, caller: Caller, call_class: CallClass) -> None:
    """Count a call of who has shown a key or a token; ThrottlingException when there were too many."""
    name = caller.access_key_id or (caller.subject and f"{caller.account_id} {caller.subject}")
    if name:
        resources_of(request).call_rates.confirm_key(name, call_class)


def _needs(role: Role, *, guests: bool = False) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller of the REST and member doors, who must have a role, or be a guest."""

    async def caller(
        request: Request,
        resources: ResourcesNow,
        _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, description=_KEY_FORM))],
        _header: Annotated[
            object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description=_KEY_FORM))
        ],
    ) -> Caller:
        call_class = call_class_of(request.method, request.scope["route"].operation_id)
        confirm_address(request, call_class)
        _refuse_unknown_parameters(request)
        guest = await _guest_of(request, resources)
        if guest is not None:
            resources.guest_rate.confirm(f"{guest.account_id} {guest.collections} {guest.subject}")
            confirm_role(guest, Role.GUEST if guests else role, request.scope["route"].operation_id)
            return guest
        if not resources.settings.auth_required:
            return _anybody(request, resources)
        found = await _bearer_of(request, resources)
        confirm_role(found, role, request.scope["route"].operation_id)
        confirm_key(request, found, call_class)
        return found

    return caller


def _refuse_unknown_parameters(request: Request) -> None:
    """InvalidParameterException for a query parameter that the route doesn't have: it may be misspelt."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        may_have = ", ".join(sorted(known)) or "none"
        raise InvalidParameterException(
            f"The query has no parameter {unknown[0][:64]!r}; it may have: {may_have}", reason="InvalidField"
        )


async def confirm_self(
    resources: Resources,
    caller: Caller,
    collection_id: str,
    member_id: str,
    *,
    others: Role = Role.READ,
    operation: str = "",
) -> None:
    """AccessDeniedException when somebody without the role for it asks for another member than themselves."""
    if caller.role >= others:
        return
    if caller.subject is None:
        confirm_role(caller, others, operation)
    if not await resources.members.is_subject(caller, collection_id, member_id):
        raise AccessDeniedException("Your token is bound to no such member")


Self = Annotated[Caller, Depends(_needs(Role.SELF))]
Reader = Annotated[Caller, Depends(_needs(Role.READ))]
Writer = Annotated[Caller, Depends(_needs(Role.WRITE))]
ReaderOrGuest = Annotated[Caller, Depends(_needs(Role.READ, guests=True))]
WriterOrGuest = Annotated[Caller, Depends(_needs(Role.WRITE, guests=True))]
Admin = Annotated[Caller, Depends(_needs(Role.ADMIN))]


async def _guest_of(request: Request, resources: Resources) -> Caller | None:
    """Who shows the token of somebody who joined by an event code; good also where nobody else is asked."""
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not is_guest_token(shown.strip()):
        return None
    return await resources.joining.caller_of(shown.strip())


async def _bearer_of(request: Request, resources: Resources) -> Caller:
    """Who shows a key as `X-API-Key: ID:SECRET` or `Authorization: Bearer ID:SECRET`, or a token (JWT)."""
    shown = request.headers.get("x-api-key")
    if shown is None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise MissingAuthenticationTokenException
    access_key_id, colon, secret = shown.strip().partition(":")
    if not colon and shown.count(".") == 2:
        return await resources.tokens.caller_of(shown.strip())
    key = await resources.keys.find(access_key_id) if secret else None
    if key is None or not hmac.compare_digest(key.secret.encode(), secret.encode()):
        raise UnrecognizedClientException
    return key.caller


async def _sha256(body: bytes) -> str:
    if len(body) > LARGE_BODY_BYTES:
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
    return hashlib.sha256(body).hexdigest()
