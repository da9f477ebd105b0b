"""AWS Signature Version 4, the header form, checked on our side.

Source: AWS General Reference, "Create a signed AWS API request".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from app.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "rekognition"
MAX_SKEW = timedelta(minutes=5)
MUST_BE_SIGNED = frozenset({"host", "x-amz-date", "x-amz-target"})
_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<credential>[^\s,]+),\s*SignedHeaders=(?P<headers>[^\s,]+),\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_DATE = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers. `headers` holds all values of a header, by its name in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Signature:
    """The Authorization header, taken apart."""

    access_key_id: str
    date: str
    region: str
    signed_headers: tuple[str, ...]
    signature: str
    time: datetime

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{SERVICE}/aws4_request"


def parse(request: SignedRequest, now: datetime) -> Signature:
    """Take a signature apart and check all that needs no secret.

    Raises:
        MissingAuthenticationTokenException: there is none.
        IncompleteSignatureException: it is not well formed, or leaves out a header that must be signed.
        UnrecognizedClientException: it comes with a session token; this service issues none.
        InvalidSignatureException: another service, another day, or the clocks differ by over five minutes.
    """
    authorization = _only(request, "authorization")
    if authorization is None:
        raise MissingAuthenticationTokenException
    found = _HEADER.fullmatch(authorization)
    if found is None:
        raise IncompleteSignatureException
    if "x-amz-security-token" in request.headers:
        raise UnrecognizedClientException
    credential = found["credential"].split("/")
    names = tuple(found["headers"].split(";"))
    stamp = _only(request, "x-amz-date")
    if len(credential) != 5 or stamp is None or not set(names) >= MUST_BE_SIGNED:
        raise IncompleteSignatureException
    if names != tuple(sorted({name.lower() for name in names})):
        raise IncompleteSignatureException
    key_id, date, region, service, ending = credential
    if (service, ending) != (SERVICE, "aws4_request") or not region:
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{SERVICE}'.")
    try:
        time = datetime.strptime(stamp, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise IncompleteSignatureException from None
    if date != stamp[:8]:
        raise InvalidSignatureException("Date in Credential scope does not match YYYYMMDD from X-Amz-Date")
    if time < now - MAX_SKEW:
        edge, present = (now - MAX_SKEW).strftime(_DATE), now.strftime(_DATE)
        raise InvalidSignatureException(
            f"Signature expired: {stamp} is now earlier than {edge} ({present} - 5 min.)"
        )
    if time > now + MAX_SKEW:
        edge, present = (now + MAX_SKEW).strftime(_DATE), now.strftime(_DATE)
        raise InvalidSignatureException(
            f"Signature not yet current: {stamp} is still later than {edge} ({present} + 5 min.)"
        )
    return Signature(key_id, date, region, names, found["signature"], time)


def verify(request: SignedRequest, signature: Signature, secret: str, public_prefix: str) -> None:
    """Compare a signature with the one that `secret` makes.

    Args:
        request: as it reached this service.
        signature: from `parse`.
        secret: of the key that the signature names.
        public_prefix: what a proxy may have taken from the path that the client signed.
    Raises:
        InvalidSignatureException: they differ.
    """
    claimed = _only(request, "x-amz-content-sha256")
    if claimed is not None and not hmac.compare_digest(claimed.encode(), request.body_sha256.encode()):
        raise InvalidSignatureException
    paths = {request.path, public_prefix + request.path, public_prefix or request.path}
    for path in sorted(paths):
        if hmac.compare_digest(_sign(request, signature, secret, path), signature.signature):
            return
    raise InvalidSignatureException


def _sign(request: SignedRequest, signature: Signature, secret: str, path: str) -> str:
    headers = "".join(
        f"{name}:{','.join(' '.join(value.split()) for value in request.headers.get(name, ('',)))}\n"
        for name in signature.signed_headers
    )
    canonical = "\n".join(
        (
            request.method,
            quote(path, safe="/~"),
            "&".join(sorted(filter(None, request.query.split("&")))),
            headers,
            ";".join(signature.signed_headers),
            request.body_sha256,
        )
    )
    stamp = signature.time.strftime(_DATE)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, stamp, signature.scope, digest))
    key = f"AWS4{secret}".encode()
    for part in (signature.date, signature.region, SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _only(request: SignedRequest, name: str) -> str | None:
    """The value of a header; IncompleteSignatureException when it is sent twice."""
    values = request.headers.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise IncompleteSignatureException
    return values[0]
