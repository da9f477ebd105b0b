"""`/api/v1/albums/{id}/photos`: photos in, what was found in them, and links to their files."""

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.api import album_forms as forms
from app.api import paging, uploads
from app.api.access import Reader, ReaderOrGuest, ResourcesNow, Writer, confirm_role
from app.api.album_matches import matches_of_guest
from app.api.aws.shapes import CollectionId
from app.domain import Role
from app.errors import InvalidParameterException

router = APIRouter(tags=["albums"])

_PHOTOS = "/api/v1/albums/{album_id}/photos"
_FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}


@router.post(_PHOTOS, status_code=202, operation_id="UploadPhotos", openapi_extra=_FILES)
async def upload_photos(
    request: Request, album_id: CollectionId, resources: ResourcesNow, caller: Writer
) -> forms.Uploads:
    """Take photos in, as many files as you like; each is stored and queued as it comes.

    A file that is no photo is refused by itself; the others are taken.
    """
    files = uploads.files_of(request, resources.settings.max_image_bytes)
    found = [
        forms.UploadedPhoto(
            name=one.name,
            id=one.photo_id,
            accepted=one.refused is None,
            queued=one.queued,
            code=one.refused.code if one.refused else None,
            reason=one.refused.reason if one.refused else None,
            detail=one.refused.detail if one.refused else None,
        )
        async for one in resources.album_photos.upload(caller, album_id, files)
    ]
    if not found:
        raise InvalidParameterException("Send photos in fields of the name `files`", reason="InvalidField")
    accepted = sum(one.accepted for one in found)
    return forms.Uploads(accepted=accepted, refused=len(found) - accepted, photos=found)


@router.get(_PHOTOS, operation_id="ListPhotos")
async def list_photos(
    request: Request,
    album_id: CollectionId,
    resources: ResourcesNow,
    caller: ReaderOrGuest,
    guest: Annotated[str | None, Query(max_length=1024, description="Only photos of this guest")] = None,
    state: Annotated[forms.PhotoState | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> forms.PhotoList | forms.MatchedPhotos:
    """Photos in the order of their ids, or those of a guest, best first."""
    if guest is not None:
        return await matches_of_guest(request, caller, album_id, guest, limit, next_token)
    confirm_role(caller, Role.READ, "ListPhotos")
    listing = paging.photos_in(resources.paging_secret, caller.account_id, album_id)
    page = await resources.album_photos.page(
        caller, album_id, state=state, after=listing.face_id(next_token), limit=limit
    )
    return forms.PhotoList(
        count=len(page.items),
        photos=[forms.AlbumPhoto(**forms.photo(request, found)) for found in page.items],
        next_token=listing.token(page.last_key),
    )


@router.get(_PHOTOS + "/{photo_id}", operation_id="GetPhoto")
async def get_photo(
    request: Request, album_id: CollectionId, photo_id: UUID, resources: ResourcesNow, caller: Reader
) -> forms.PhotoWithFaces:
    """A photo with every face, its box, and the guests it was taken for."""
    found = await resources.album_photos.get(caller, album_id, photo_id)
    return forms.PhotoWithFaces(
        **forms.photo(request, found.photo),
        found=[
            forms.FaceInPhoto(
                face_id=face.face_id,
                box=forms.Box(
                    left=face.box.left, top=face.box.top, width=face.box.width, height=face.box.height
                ),
                confidence=face.confidence,
                guests=[
                    forms.GuestInFace(guest_id=guest_id, similarity=resources.guests.similarity(cosine))
                    for guest_id, cosine in face.guests
                ],
            )
            for face in found.faces
        ],
    )


@router.delete(_PHOTOS + "/{photo_id}", operation_id="DeletePhoto")
async def delete_photo(
    album_id: CollectionId, photo_id: UUID, resources: ResourcesNow, caller: Writer
) -> forms.Accepted:
    """Erase a photo's faces and results, and the file of an upload."""
    await resources.album_photos.remove(caller, album_id, photo_id)
    return forms.Accepted(accepted=True)


@router.get(
    "/api/v1/links/{token}",
    operation_id="OpenLink",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}, "description": "The file"}},
)
async def open_link(token: Annotated[str, Path(max_length=1024)], resources: ResourcesNow) -> Response:
    """The file of a signed link; whoever has the link may open it until it expires."""
    file = await resources.links.read(token)
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(file.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(file.data, media_type=file.media_type, headers=headers)
