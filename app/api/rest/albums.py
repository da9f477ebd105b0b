"""`/api/v1/albums`: albums, and how far they are."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from app.api import album_forms as forms
from app.api import body, paging
from app.api.access import Reader, ResourcesNow, Writer
from app.api.aws.shapes import CollectionId
from app.domain import Caller
from app.errors import ServiceUnavailableError
from app.resources import Resources
from app.service.albums import AUTOMATIC_CODE, AlbumWishes

router = APIRouter(prefix="/api/v1/albums", tags=["albums"])

UPLOADS = re.compile(r"/api/v1/albums/[^/]+/photos")
"""The path that takes photos in as they come."""
_EVENT_S = 1.0
# A comment now and then, or a proxy takes the connection for dead.
_EVENTS_QUIET = 15


@router.post(
    "",
    status_code=201,
    operation_id="CreateAlbum",
    openapi_extra=body.openapi(
        forms.NewAlbum,
        example={"id": "gala-2026", "title": "Gala", "source": "s3://photos/gala/", "event_code": "auto"},
    ),
)
async def create_album(request: Request, resources: ResourcesNow, caller: Writer) -> forms.AlbumSummary:
    """Make an album: a collection with photos. App users own theirs and see no others."""
    asked = await body.read(request, forms.NewAlbum)
    _count_tries(resources, caller, asked.event_code)
    wishes = AlbumWishes(
        asked.id,
        asked.title,
        asked.prefix(resources.settings, caller),
        asked.threshold,
        asked.retention_days,
        asked.event_code,
        resources.settings.storage_recompress if asked.recompress is None else asked.recompress,
    )
    return forms.AlbumSummary(**forms.summary(await resources.albums.create(caller, wishes)))


@router.get("", operation_id="ListAlbums")
async def list_albums(
    resources: ResourcesNow,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> forms.AlbumList:
    """Albums in the order of their ids."""
    listing = paging.albums_of(resources.paging_secret, caller.account_id)
    page = await resources.albums.page(caller, listing.key(next_token), limit)
    return forms.AlbumList(
        count=len(page.items),
        albums=[forms.AlbumSummary(**forms.summary(album)) for album in page.items],
        next_token=listing.token(page.last_key),
    )


@router.get("/{album_id}", operation_id="GetAlbum")
async def get_album(album_id: CollectionId, resources: ResourcesNow, caller: Reader) -> forms.AlbumSummary:
    """An album."""
    return forms.AlbumSummary(**forms.summary(await resources.albums.get(caller, album_id)))


@router.patch(
    "/{album_id}",
    operation_id="UpdateAlbum",
    openapi_extra=body.openapi(forms.AlbumChanges, example={"title": "Gala 2026", "event_code": "auto"}),
)
async def update_album(
    request: Request, album_id: CollectionId, resources: ResourcesNow, caller: Writer
) -> forms.AlbumSummary:
    """Change an album. With another threshold its guests are matched anew."""
    asked = await body.read(request, forms.AlbumChanges)
    _count_tries(resources, caller, asked.event_code)
    album = await resources.albums.change(caller, album_id, asked.given())
    return forms.AlbumSummary(**forms.summary(album))


@router.delete("/{album_id}", operation_id="DeleteAlbum")
async def delete_album(album_id: CollectionId, resources: ResourcesNow, caller: Writer) -> forms.Accepted:
    """Erase an album: vectors, guests and results at once, uploads and thumbnails by a worker soon after."""
    await resources.albums.delete(caller, album_id)
    return forms.Accepted(accepted=True)


@router.post("/{album_id}/process", status_code=202, operation_id="ProcessAlbum")
async def process_album(album_id: CollectionId, resources: ResourcesNow, caller: Writer) -> forms.AlbumStatus:
    """List the album's source and index what is new or changed there; unchanged photos cost nothing."""
    await resources.album_photos.process(caller, album_id)
    return await _status(resources, caller, album_id)


@router.post("/{album_id}/retry", status_code=202, operation_id="RetryAlbum")
async def retry_album(album_id: CollectionId, resources: ResourcesNow, caller: Writer) -> forms.Accepted:
    """Try the failed photos again."""
    return forms.Accepted(accepted=True, photos=await resources.album_photos.retry(caller, album_id))


@router.get("/{album_id}/status", operation_id="GetAlbumStatus")
async def album_status(album_id: CollectionId, resources: ResourcesNow, caller: Reader) -> forms.AlbumStatus:
    """Photos by state, photos a second over the last minute, the time that is left, and failures."""
    return await _status(resources, caller, album_id)


@router.get(
    "/{album_id}/events",
    operation_id="WatchAlbum",
    response_class=StreamingResponse,  # fastapi's own for events wants a generator, which can't answer 404
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events named `status`"}},
)
async def album_events(
    request: Request, album_id: CollectionId, resources: ResourcesNow, caller: Reader
) -> StreamingResponse:
    """The status as server-sent events: at once, at every change, and a last one when all is done."""
    first = await _status(resources, caller, album_id)

    async def events() -> AsyncIterator[bytes]:
        shown, quiet = first, 0
        yield _event(first)
        while not shown.finished and not await request.is_disconnected():
            await asyncio.sleep(_EVENT_S)
            try:
                now = await _status(resources, caller, album_id)
            except ServiceUnavailableError:
                continue  # the database comes back
            if now != shown:
                shown, quiet = now, 0
                yield _event(now)
                continue
            quiet += 1
            if quiet % _EVENTS_QUIET == 0:
                yield b": still there\n\n"

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def _count_tries(resources: Resources, caller: Caller, event_code: str | None) -> None:
    """That a code is taken tells that it opens another album, so choosing codes is limited as trying them."""
    if event_code not in (None, AUTOMATIC_CODE):
        resources.join_rate.confirm(f"codes {caller.account_id} {caller.subject}")


def _event(status: forms.AlbumStatus) -> bytes:
    return f"event: status\ndata: {status.model_dump_json()}\n\n".encode()


async def _status(resources: Resources, caller: Caller, album_id: str) -> forms.AlbumStatus:
    return forms.status(album_id, await resources.albums.progress(caller, album_id))
