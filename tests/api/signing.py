"""Requests that botocore signs, and what somebody may do to them."""

import random
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY_ID, SECRET = "AKIABOOTSTRAP0000000", "bootstrap-secret-of-the-tests-123"


def signed_request(
    body: bytes, *, path: str = "/", host: str = "localhost:8000", more: dict[str, str] | None = None
) -> AWSRequest:
    request = AWSRequest(
        "POST",
        f"http://{host}{path}",
        data=body,
        headers={
            "X-Amz-Target": "RekognitionService.ListCollections",
            "Content-Type": "application/x-amz-json-1.1",
            "Host": host,
            **(more or {}),
        },
    )
    SigV4Auth(Credentials(KEY_ID, SECRET), "rekognition", "us-east-1").add_auth(request)
    return request


def headers_of(request: AWSRequest) -> dict[str, str]:
    return {name: str(value) for name, value in request.headers.items()}


def altered(
    draw: random.Random, headers: dict[str, str], body: bytes
) -> tuple[dict[str, str], bytes, dict[str, str]]:
    """A signed request after somebody touched it in one place."""
    headers, where = dict(headers), {}
    authorization = headers["Authorization"]
    now = datetime.now(UTC)
    kind = draw.randrange(14)
    if kind == 0:
        place = draw.randrange(len(body))
        body = body[:place] + bytes([body[place] ^ (1 << draw.randrange(8))]) + body[place + 1 :]
    elif kind == 1:
        body += b" "
    elif kind == 2:
        headers["X-Amz-Target"] = "RekognitionService.DeleteCollection"
    elif kind == 3:
        headers["Host"] = "example.org"
    elif kind == 4:
        moved = now + timedelta(seconds=draw.choice([-3600, -301 - 60, -30, 30, 400, 86_400]))
        headers["X-Amz-Date"] = moved.strftime("%Y%m%dT%H%M%SZ")
    elif kind == 5:
        headers["Authorization"] = authorization.replace("us-east-1", draw.choice(["eu-west-1", "us-east-2"]))
    elif kind == 6:
        headers["Authorization"] = authorization.replace(
            "/rekognition/", draw.choice(["/s3/", "/rekognitions/"])
        )
    elif kind == 7:
        headers["Authorization"] = authorization.replace(KEY_ID, "AKIAOTHER00000000000")
    elif kind == 8:
        place = authorization.index("Signature=") + 10 + draw.randrange(64)
        digit = format(int(authorization[place], 16) ^ (1 + draw.randrange(15)), "x")
        headers["Authorization"] = authorization[:place] + digit + authorization[place + 1 :]
    elif kind == 9:
        gone = draw.choice(["host;", "x-amz-date;", ";x-amz-target", "content-type;"])
        headers["Authorization"] = authorization.replace(gone, "", 1)
    elif kind == 10:
        headers["Content-Type"] = "text/plain"
    elif kind == 11:
        where = draw.choice([{"path": "/x"}, {"method": "PUT"}, {"query": "a=1"}])
    elif kind == 12:
        day = (now - timedelta(days=1)).strftime("%Y%m%d")
        headers["Authorization"] = authorization.replace(now.strftime("%Y%m%d"), day)
    else:
        headers["Authorization"] = draw.choice(
            ["", authorization.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), authorization[:-1], "Bearer x",
             authorization.replace("aws4_request", "aws5_request"), authorization + "0"]
        )  # fmt: skip
    return headers, body, where
