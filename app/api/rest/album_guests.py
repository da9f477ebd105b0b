"""`/api/v1/albums/{id}/guests`: selfie in, photos out; and joining by an event code."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from app.api import album_forms as forms
from app.api import body, paging
from app.api.access import Reader, ReaderOrGuest, ResourcesNow, WriterOrGuest
from app.api.album_matches import matches_of_guest, page, rank
from app.api.aws.shapes import CollectionId
from app.api.images import UPLOADS
from app.errors import AccessDeniedException

router = APIRouter(prefix="/api/v1/albums", tags=["albums"])

# Ids may hold slashes.
GuestId = Annotated[str, Path(min_length=1, max_length=1024)]
_SELFIE = {"image_url": "https://example.org/selfie.jpg"}


@router.post(
    "/join",
    operation_id="JoinAlbum",
    openapi_extra=body.openapi(forms.Join, example={"event_code": "K7QX4M2PAB"}),
)
async def join_album(request: Request, resources: ResourcesNow) -> forms.JoinedAlbum:
    """An event code for a token that is good for one guest's own selfie, photos and erasure."""
    asked = await body.read(request, forms.Join)
    # Wrong codes count, of an address and of all: a whole party may join by way of one address.
    counted = {f"join {request.client.host if request.client else ''}": resources.join_rate}
    counted["join"] = resources.wrong_codes_rate
    for name, rate in counted.items():
        rate.confirm_free(name)
    try:
        joined = await resources.joining.join(asked.event_code, asked.token)
    except AccessDeniedException:
        for name, rate in counted.items():
            rate.confirm(name)
        raise
    return forms.JoinedAlbum(
        album_id=joined.album.album_id,
        title=joined.album.title,
        guest_id=joined.guest_id,
        token=joined.token,
        expires_at=joined.expires_at,
    )


@router.post(
    "/{album_id}/search",
    operation_id="SearchAlbum",
    openapi_extra=body.openapi(forms.Search, UPLOADS, example={**_SELFIE, "limit": 50}),
)
async def search_album(
    request: Request, album_id: CollectionId, resources: ResourcesNow, caller: Reader
) -> forms.MatchedPhotos:
    """Photos with the person of a selfie, best first; nothing is stored.

    For the next page, send the same selfie with `next_token`.
    """
    asked = await body.read(request, forms.Search, UPLOADS)
    listing = paging.matches_in(resources.paging_secret, caller.account_id, album_id, "of a selfie")
    found = await resources.guests.search(
        caller,
        album_id,
        asked.required_image(resources.settings, caller),
        rank(listing, asked.next_token),
        asked.limit,
    )
    return page(request, caller, found, listing)


@router.post(
    "/{album_id}/guests",
    operation_id="EnrollGuest",
    openapi_extra=body.openapi(forms.NewGuest, UPLOADS, example={**_SELFIE, "id": "ana", "name": "Ana"}),
)
async def enroll_guest(
    request: Request, album_id: CollectionId, resources: ResourcesNow, caller: WriterOrGuest
) -> forms.EnrolledGuest:
    """Store a guest's face and find their photos; new photos find them as they are indexed.

    The selfie itself is not kept, and a new one takes its place.
    """
    asked = await body.read(request, forms.NewGuest, UPLOADS)
    selfie = asked.required_image(resources.settings, caller)
    found = await resources.guests.enrol(caller, album_id, asked.id, asked.name, selfie)
    return forms.EnrolledGuest(**forms.guest(found.guest), created=found.created)


@router.get("/{album_id}/guests", operation_id="ListGuests")
async def list_guests(
    album_id: CollectionId,
    resources: ResourcesNow,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> forms.GuestList:
    """Guests in the order of their user ids."""
    listing = paging.guests_in(resources.paging_secret, caller.account_id, album_id)
    found = await resources.guests.page(caller, album_id, listing.key(next_token), limit)
    return forms.GuestList(
        count=len(found.items),
        guests=[forms.AlbumGuest(**forms.guest(one)) for one in found.items],
        next_token=listing.token(found.last_key),
    )


@router.get("/{album_id}/guests/{guest_id:path}/photos", operation_id="ListGuestPhotos")
async def list_guest_photos(
    request: Request,
    album_id: CollectionId,
    guest_id: GuestId,
    caller: ReaderOrGuest,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> forms.MatchedPhotos:
    """Photos of a guest, best first."""
    return await matches_of_guest(request, caller, album_id, guest_id, limit, next_token)


@router.get("/{album_id}/guests/{guest_id:path}", operation_id="GetGuest")
async def get_guest(
    album_id: CollectionId, guest_id: GuestId, resources: ResourcesNow, caller: ReaderOrGuest
) -> forms.AlbumGuest:
    """A guest; `me` is whoever joined by an event code."""
    return forms.AlbumGuest(**forms.guest(await resources.guests.get(caller, album_id, guest_id)))


@router.delete("/{album_id}/guests/{guest_id:path}", operation_id="DeleteGuest")
async def delete_guest(
    album_id: CollectionId, guest_id: GuestId, resources: ResourcesNow, caller: WriterOrGuest
) -> forms.ErasedGuest:
    """Erase a guest: their face, and which photos show them."""
    await resources.guests.erase(caller, album_id, guest_id)
    return forms.ErasedGuest(erased=True)
