"""Pagination tokens: opaque, at most 255 characters, and of one listing only.

A token holds the last key of a page, so it survives the deletion of that row.
"""

import base64
import binascii
import hashlib
from uuid import UUID

from app.errors import InvalidPaginationTokenException

_CHECK_BYTES = 4
_ALPHABET = "".join(chr(code) for code in range(0x2D, 0x7B) if chr(code).isalnum() or chr(code) in "-._:")
_BASE = len(_ALPHABET) + 1
_TOKEN_MAX = 255


def encode(listing: str, key: str | None) -> str | None:
    """The token that continues after `key`; None at the end. Keys consist of letters, digits and `-._:`."""
    if key is None:
        return None
    # Packed as a number, or a collection id of 255 characters would not fit in 255 characters.
    number = 0
    for character in key:
        number = number * _BASE + _ALPHABET.index(character) + 1
    packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload = _check(listing, packed) + packed
    token = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return token if len(token) <= _TOKEN_MAX else "~" + base64.b85encode(payload).decode()


def decode(listing: str, token: str | None) -> str | None:
    """The key that a token holds.

    Raises:
        InvalidPaginationTokenException: not a token of this listing.
    """
    if token is None:
        return None
    try:
        if token.startswith("~"):
            payload = base64.b85decode(token[1:])
        else:
            payload = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPaginationTokenException from None
    check, packed = payload[:_CHECK_BYTES], payload[_CHECK_BYTES:]
    if not packed or check != _check(listing, packed):
        raise InvalidPaginationTokenException
    number = int.from_bytes(packed, "big")
    characters = []
    while number:
        number, digit = divmod(number, _BASE)
        characters.append(_ALPHABET[digit - 1])
    return "".join(reversed(characters))


def decode_face_id(listing: str, token: str | None) -> UUID | None:
    """The same, for listings in the order of face ids."""
    key = decode(listing, token)
    try:
        return None if key is None else UUID(key)
    except ValueError:
        raise InvalidPaginationTokenException from None


def _check(listing: str, packed: bytes) -> bytes:
    return hashlib.sha256(listing.encode() + b"\0" + packed).digest()[:_CHECK_BYTES]
