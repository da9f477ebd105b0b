"""Photos with a person, best first, as pages."""

import hashlib
import hmac
import os
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Request

from app.api import album_forms as forms
from app.api import paging
from app.api.access import resources_of
from app.api.paging import Listing
from app.domain import Caller, Role
from app.errors import InvalidPaginationTokenException
from app.service.guests import Matches
from app.store.matches import Rank

_RANK = struct.Struct(">d16s")
_NONCE = 12


async def matches_of_guest(
    request: Request, caller: Caller, album_id: str, guest_id: str, limit: int, next_token: str | None
) -> forms.MatchedPhotos:
    """A page of a guest's photos."""
    resources = resources_of(request)
    # To everybody who joined, `me` is somebody else.
    whose = f"guest {caller.subject if caller.role is Role.GUEST else guest_id}"
    listing = paging.matches_in(resources.paging_secret, caller.account_id, album_id, whose)
    found = await resources.guests.photos(caller, album_id, guest_id, rank(listing, next_token), limit)
    return page(request, caller, found, listing)


def page(request: Request, caller: Caller, found: Matches, listing: Listing) -> forms.MatchedPhotos:
    """Photos that were found; guests get no figures."""
    coarse = caller.role is Role.GUEST
    return forms.MatchedPhotos(
        count=len(found.items),
        photos=[forms.matched(request, match, coarse=coarse) for match in found.items],
        next_token=listing.token(None if found.last is None else _sealed(found.last, listing)),
    )


def rank(listing: Listing, token: str | None) -> Rank | None:
    """Where a token says to go on."""
    key = listing.key(token)
    if key is None:
        return None
    try:
        packed = urlsafe_b64decode(key + "=" * (-len(key) % 4))
        cosine, photo_id = _RANK.unpack(_cipher(listing).decrypt(packed[:_NONCE], packed[_NONCE:], None))
    except (ValueError, InvalidTag, struct.error):
        raise InvalidPaginationTokenException from None
    return Rank(cosine, UUID(bytes=photo_id))


def _sealed(last: Rank, listing: Listing) -> str:
    """A key that its bearer can't read: it holds a cosine, which would help to forge a selfie."""
    nonce = os.urandom(_NONCE)
    packed = _cipher(listing).encrypt(nonce, _RANK.pack(last.cosine, last.photo_id.bytes), None)
    return urlsafe_b64encode(nonce + packed).rstrip(b"=").decode()


def _cipher(listing: Listing) -> AESGCM:
    return AESGCM(hmac.digest(listing.secret, b"ranks of matches", hashlib.sha256))
