"""Links that expire. What links lead to is tested through the service."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import jwt
import pytest

from app.domain import ImageFormat, ImageLimits
from app.errors import ResourceNotFoundException
from app.service.links import Links
from app.store.database import Database

SECRET = b"the secret of this test, 32 bytes"
LIMITS = ImageLimits(1, 1, 1, frozenset(ImageFormat))
PHOTO = uuid4()


class AskedError(Exception):
    """The link was good: the database is asked for its photo."""


class NoDatabase:
    def session(self) -> None:
        raise AskedError


def links(minutes: int, secret: bytes = SECRET) -> Links:
    nothing = cast(Any, None)
    return Links(cast(Database, NoDatabase()), nothing, nothing, LIMITS, secret, minutes)


def read(token: str) -> None:
    asyncio.run(links(60).read(token))


def signed(**changes: Any) -> str:
    claims: dict[str, Any] = {
        "sub": str(PHOTO),
        "aud": "photo",
        "exp": datetime.now(UTC) + timedelta(minutes=1),
        "kind": "original",
    }
    claims |= changes
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET)


def test_a_link_is_good_until_it_expires() -> None:
    with pytest.raises(AskedError):
        read(links(1).token(PHOTO, "thumbnail"))
    for minutes in (-1, -10_000):
        with pytest.raises(ResourceNotFoundException) as failure:
            read(links(minutes).token(PHOTO, "thumbnail"))
        assert failure.value.reason == "LinkNotFound"


def test_no_two_photos_and_kinds_have_the_same_link() -> None:
    other = UUID(int=PHOTO.int + 1)
    made = {links(1).token(photo, kind) for photo in (PHOTO, other) for kind in ("thumbnail", "original")}
    assert len(made) == 4


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b.c",
        "\0",
        "ä",
        links(60, b"the secret of somebody else, 32 bytes").token(PHOTO, "original"),
        signed(aud="guest"),
        signed(exp=None),
        signed(sub=None),
        signed(kind=None),
        signed(sub="../photo"),
        jwt.encode({"sub": str(PHOTO), "aud": "photo", "exp": 4e9, "kind": "original"}, "", "none"),
        jwt.encode(
            {"sub": str(PHOTO), "aud": "photo", "exp": 4e9, "kind": "original"}, SECRET + b"!" * 32, "HS512"
        ),
    ],
    ids=range(13),
)
def test_a_link_that_is_not_the_services_own_is_not_there(token: str) -> None:
    with pytest.raises(AskedError):
        read(signed())
    with pytest.raises(ResourceNotFoundException) as failure:
        read(token)
    assert failure.value.reason == "LinkNotFound"
