"""Ids as people write them, and their forms for Rekognition."""

import re

import pytest

from app.errors import InvalidParameterException
from app.service.ids import USER_ID_MAX, image_id, public_id


@pytest.mark.parametrize("written", ["123", "a.b-c_d:e", "x" * 128])
def test_an_id_that_fits_is_its_own_form(written: str) -> None:
    assert public_id(written, "member_id", USER_ID_MAX).safe == written


@pytest.mark.parametrize("written", ["a@b.c", "ä", "a b", "x" * 129, "id-sha256:abc"])
def test_any_other_id_gets_a_form_that_fits_and_is_its_own_alone(written: str) -> None:
    safe = public_id(written, "member_id", USER_ID_MAX).safe
    assert re.fullmatch(r"[a-zA-Z0-9_.\-:]{1,128}", safe)
    assert safe != written
    assert safe == public_id(written, "member_id", USER_ID_MAX).safe
    assert safe != public_id(written + "!", "member_id", USER_ID_MAX).safe
    assert public_id(safe, "member_id", USER_ID_MAX).safe != safe  # nobody can claim another's form


def test_two_ways_to_type_a_letter_are_one_id() -> None:
    assert public_id("\u00e9", "member_id", USER_ID_MAX) == public_id("e\u0301", "member_id", USER_ID_MAX)


@pytest.mark.parametrize("written", ["", " ", "\0", "a\tb", "x" * 256, "\u202e"])
def test_ids_that_are_not_printable_are_refused(written: str) -> None:
    with pytest.raises(InvalidParameterException):
        public_id(written, "member_id", USER_ID_MAX)


def test_image_ids_tell_images_apart_by_their_bytes() -> None:
    assert image_id(b"a") == image_id(b"a")
    assert image_id(b"a") != image_id(b"b")
    assert image_id(b"a").version == 5
