"""Pagination tokens."""

import pytest

from app.api import paging
from app.errors import InvalidPaginationTokenException


@pytest.mark.parametrize(
    "key", ["a", "A.b-c_9", "-" * 255, "z" * 255, "0" * 255, "5e3c0b1a-0000-4000-8000-000000000000"]
)
def test_a_token_holds_any_key_in_at_most_255_characters(key: str) -> None:
    token = paging.encode("list", key)
    assert token is not None
    assert len(token) <= 255
    assert paging.decode("list", token) == key


def test_the_end_has_no_token() -> None:
    assert paging.encode("list", None) is None
    assert paging.decode("list", None) is None


@pytest.mark.parametrize("token", ["", "a", "made-up", "~~~", "~made-up", "====", "é", "\0", "A" * 255])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidPaginationTokenException):
        paging.decode("list", token)


def test_a_token_of_another_listing_is_refused() -> None:
    token = paging.encode("faces of a", "x")
    with pytest.raises(InvalidPaginationTokenException):
        paging.decode("faces of b", token)
