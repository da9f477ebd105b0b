"""Photos with a person, best first, as pages."""

from uuid import UUID

from fastapi import Request

from app.api import album_forms as forms
from app.api import paging
from app.api.access import resources_of
from app.api.paging import Listing
from app.domain import Caller, Role
from app.errors import InvalidPaginationTokenException
from app.service.guests import Matches
from app.store.matches import Rank


async def matches_of_guest(
    request: Request, caller: Caller, album_id: str, guest_id: str, limit: int, next_token: str | None
) -> forms.MatchedPhotos:
    """A page of a guest's photos."""
    resources = resources_of(request)
    listing = paging.matches_in(resources.paging_secret, caller.account_id, album_id, guest_id)
    found = await resources.guests.photos(caller, album_id, guest_id, rank(listing, next_token), limit)
    return page(request, caller, found, listing)


def page(request: Request, caller: Caller, found: Matches, listing: Listing) -> forms.MatchedPhotos:
    """Photos that were found; guests get no figures."""
    coarse = caller.role is Role.GUEST
    return forms.MatchedPhotos(
        count=len(found.items),
        photos=[forms.matched(request, match, coarse=coarse) for match in found.items],
        next_token=listing.token(None if found.last is None else _key(found.last)),
    )


def rank(listing: Listing, token: str | None) -> Rank | None:
    """Where a token says to go on."""
    key = listing.key(token)
    if key is None:
        return None
    cosine, _, photo_id = key.partition(":")
    try:
        return Rank(float.fromhex(cosine.replace("_", "+")), UUID(photo_id))
    except ValueError:
        raise InvalidPaginationTokenException from None


def _key(last: Rank) -> str:
    return f"{last.cosine.hex().replace('+', '_')}:{last.photo_id}"
