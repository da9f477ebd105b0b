"""Pagination tokens."""

import pytest

from app.api.paging import Listing
from app.errors import InvalidPaginationTokenException

LISTING = Listing(b"secret", "000000000001", "faces of a")


@pytest.mark.parametrize(
    "key", ["a", "A.b-c_9", "-" * 255, "z" * 255, "0" * 255, "5e3c0b1a-0000-4000-8000-000000000000"]
)
def test_a_token_holds_any_key_in_at_most_255_characters(key: str) -> None:
    token = LISTING.token(key)
    assert token is not None
    assert len(token) <= 255
    assert LISTING.key(token) == key


def test_the_end_has_no_token() -> None:
    assert LISTING.token(None) is None
    assert LISTING.key(None) is None


@pytest.mark.parametrize("token", ["", "a", "made-up", "~~~", "~made-up", "====", "é", "\0", "A" * 255])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidPaginationTokenException):
        LISTING.key(token)


@pytest.mark.parametrize(
    "other",
    [
        Listing(b"secret", "000000000001", "faces of b"),
        Listing(b"secret", "000000000002", "faces of a"),
        Listing(b"another", "000000000001", "faces of a"),
    ],
    ids=["listing", "account", "secret"],
)
def test_a_token_of_another_listing_account_or_service_is_refused(other: Listing) -> None:
    with pytest.raises(InvalidPaginationTokenException):
        LISTING.key(other.token("x"))


def test_no_altered_token_is_taken() -> None:
    token = LISTING.token("5e3c0b1a-0000-4000-8000-000000000000")
    assert token is not None
    for place in range(len(token)):
        for other in "Aa0-":
            altered = token[:place] + other + token[place + 1 :]
            if altered != token:
                with pytest.raises(InvalidPaginationTokenException):
                    LISTING.key(altered)
