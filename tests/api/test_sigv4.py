"""Signature Version 4: good requests pass, altered ones don't."""

import hashlib
import random
from datetime import UTC, datetime

import pytest

from app.api import sigv4
from app.errors import ServiceError
from tests.api.signing import KEY_ID, SECRET, altered, headers_of, signed_request


def check(
    headers: dict[str, str], body: bytes, *, path: str = "/", method: str = "POST", query: str = ""
) -> None:
    """What the service does with a request, without its sockets."""
    received = sigv4.SignedRequest(
        method, path, query, {name.lower(): [value] for name, value in headers.items()},
        hashlib.sha256(body).hexdigest(),
    )  # fmt: skip
    signature = sigv4.parse(received, datetime.now(UTC))
    if signature.access_key_id != KEY_ID:
        raise ServiceError("unknown key")
    sigv4.verify(received, signature, SECRET, "")


def test_200_good_requests_with_bodies_up_to_14_mb_are_accepted() -> None:
    draw = random.Random(1)
    sizes = [0, 1, 2, 14_000_000, *(int(10 ** draw.uniform(0, 5.5)) for _ in range(196))]
    for number, size in enumerate(sizes):
        body = draw.randbytes(size)
        more = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()} if number % 2 else {}
        if number % 3 == 0:
            more |= {"amz-sdk-invocation-id": str(number), "x-amz-user-agent": "a  b   c/1.0 "}
        check(headers_of(signed_request(body, more=more)), body)


def test_400_altered_requests_are_all_refused() -> None:
    draw = random.Random(2)
    for _ in range(400):
        body = b'{"CollectionId": "%d"}' % draw.randrange(10**9)
        headers, sent, where = altered(draw, headers_of(signed_request(body)), body)
        with pytest.raises(ServiceError):
            check(headers, sent, **where)


def test_a_wrong_content_hash_is_refused_also_when_it_was_signed() -> None:
    wrong = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ServiceError):
        check(headers_of(signed_request(b"{}", more={"X-Amz-Content-SHA256": wrong})), b"{}")
