"""Pagination tokens: opaque, at most 255 characters, signed, and of one listing of one account only.

A token holds the last key of a page, so it survives the deletion of that row.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from uuid import UUID

from app.errors import InvalidPaginationTokenException

_SIGNATURE_BYTES = 8
_ALPHABET = "".join(chr(code) for code in range(0x2D, 0x7B) if chr(code).isalnum() or chr(code) in "-._:")
_BASE = len(_ALPHABET) + 1
_TOKEN_MAX = 255


@dataclass(frozen=True, slots=True)
class Listing:
    """The tokens of one listing, such as the faces of a collection; `secret` signs them."""

    secret: bytes = field(repr=False)
    account_id: str
    name: str

    def token(self, key: str | None) -> str | None:
        """The token that continues after `key`; None at the end.

        Keys consist of letters, digits and `-._:`.
        """
        if key is None:
            return None
        # Packed as a number, or a collection id of 255 characters would not fit in 255 characters.
        number = 0
        for character in key:
            number = number * _BASE + _ALPHABET.index(character) + 1
        packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
        payload = self._signature(packed) + packed
        token = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
        return token if len(token) <= _TOKEN_MAX else "~" + base64.b85encode(payload).decode()

    def key(self, token: str | None) -> str | None:
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
        signature, packed = payload[:_SIGNATURE_BYTES], payload[_SIGNATURE_BYTES:]
        if not packed or not hmac.compare_digest(signature, self._signature(packed)):
            raise InvalidPaginationTokenException
        number = int.from_bytes(packed, "big")
        characters = []
        while number:
            number, digit = divmod(number, _BASE)
            characters.append(_ALPHABET[digit - 1])
        key = "".join(reversed(characters))
        if self.token(key) != token:  # base64 has several spellings of the same bytes
            raise InvalidPaginationTokenException
        return key

    def face_id(self, token: str | None) -> UUID | None:
        """The same, for listings in the order of face ids."""
        key = self.key(token)
        return None if key is None else UUID(key)

    def _signature(self, packed: bytes) -> bytes:
        message = b"\0".join((self.account_id.encode(), self.name.encode(), packed))
        return hmac.digest(self.secret, message, hashlib.sha256)[:_SIGNATURE_BYTES]


def collections_of(secret: bytes, account_id: str) -> Listing:
    return Listing(secret, account_id, "collections")


def faces_in(secret: bytes, account_id: str, collection_id: str) -> Listing:
    return Listing(secret, account_id, f"faces of {collection_id}")


def members_in(secret: bytes, account_id: str, collection_id: str) -> Listing:
    return Listing(secret, account_id, f"members of {collection_id}")


def users_in(secret: bytes, account_id: str, collection_id: str) -> Listing:
    return Listing(secret, account_id, f"users of {collection_id}")


def albums_of(secret: bytes, account_id: str) -> Listing:
    return Listing(secret, account_id, "albums")


def photos_in(secret: bytes, account_id: str, album_id: str) -> Listing:
    return Listing(secret, account_id, f"photos of {album_id}")


def guests_in(secret: bytes, account_id: str, album_id: str) -> Listing:
    return Listing(secret, account_id, f"guests of {album_id}")


def matches_in(secret: bytes, account_id: str, album_id: str, whose: str) -> Listing:
    return Listing(secret, account_id, f"photos of {album_id} with {whose}")
