"""What the album endpoints take and answer."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api import body
from app.api.access import resources_of
from app.api.aws.shapes import CollectionId
from app.api.images import WithImage, supabase_image
from app.domain import Caller, FolderImage, Prefix, S3Image
from app.errors import InvalidParameterException
from app.service.albums import Progress
from app.service.guests import PhotoMatch
from app.settings import Settings
from app.store.albums import Album
from app.store.guests import Guest
from app.store.photos import Photo, State

EVENT_CODE = "6 to 64 letters, digits and _.-, or `auto` to have one made; whoever has it may join"
# Similarities: a cosine such as 0.35 would let everybody through, so it is refused.
Threshold: TypeAlias = Annotated[
    float, Field(ge=1, le=100, description="The least Similarity of a match, 1 to 100")
]
RetentionDays: TypeAlias = Annotated[int, Field(ge=1, le=36_500, description="Erase the album after so long")]
Title: TypeAlias = Annotated[str, Field(max_length=255)]
Source: TypeAlias = Annotated[
    str,
    Field(
        max_length=1024,
        description="Where the photos lie: s3://bucket/prefix, supabase:prefix or a folder's absolute path "
        "(file:///path will do); none when photos are uploaded",
        examples=["s3://photos/gala-2026/"],
    ),
]
PhotoState: TypeAlias = State


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class NewAlbum(body.Body):
    id: CollectionId
    title: Title | None = None
    source: Source | None = None
    threshold: Threshold = 80.0
    retention_days: RetentionDays | None = None
    event_code: Annotated[str, Field(max_length=64, description=EVENT_CODE)] | None = None
    recompress: bool | None = None

    def prefix(self, settings: Settings, caller: Caller) -> Prefix | None:
        """What the source names; InvalidParameterException when it names no storage."""
        text = self.source
        if text is None:
            return None
        if text.startswith("s3://"):
            bucket, _, key = text.removeprefix("s3://").partition("/")
            if not 3 <= len(bucket) <= 255:
                raise InvalidParameterException("source: name a bucket", reason="InvalidField")
            return S3Image(caller.account_id, bucket, key)
        if text.startswith("supabase:"):
            return supabase_image(text.removeprefix("supabase:"), settings, caller)
        path = text.removeprefix("file://")
        if path.startswith("/"):
            return FolderImage(caller.account_id, path)
        raise InvalidParameterException(
            "source: s3://bucket/prefix, supabase:prefix, or the absolute path of a folder",
            reason="InvalidField",
        )


class AlbumChanges(body.Body):
    """Fields that are left out stay; null takes title, retention_days and event_code away."""

    title: Title | None = None
    threshold: Threshold | None = None
    retention_days: RetentionDays | None = None
    event_code: Annotated[str, Field(max_length=64, description=EVENT_CODE)] | None = None
    recompress: bool | None = None

    def given(self) -> dict[str, Any]:
        """The fields that the client sent, as columns."""
        sent = self.model_dump(include=self.model_fields_set)
        for name in ("threshold", "recompress"):
            if name in sent and sent[name] is None:
                raise InvalidParameterException(f"{name}: may not be null", reason="InvalidField")
        return sent


class Join(body.Body):
    event_code: Annotated[str, Field(min_length=1, max_length=64)]
    token: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="An earlier token, so that the guest stays who they are"
    )


class NewGuest(WithImage):
    id: Annotated[str | None, BeforeValidator(_as_text)] = Field(
        default=None, description="The guest's id; made up when it is missing"
    )
    name: Annotated[str, Field(max_length=255)] | None = None


class Search(WithImage):
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    next_token: Annotated[str, Field(max_length=255)] | None = None


class AlbumSummary(BaseModel):
    id: str
    title: str | None
    source: str | None
    threshold: float
    retention_days: int | None
    event_code: str | None
    recompress: bool
    collection_id: str
    face_model_version: str
    created_at: datetime


class AlbumList(BaseModel):
    count: int
    albums: list[AlbumSummary]
    next_token: str | None


class Box(BaseModel):
    left: float
    top: float
    width: float
    height: float


class FailedPhoto(BaseModel):
    id: UUID
    name: str
    reason: str | None
    attempts: int


class AlbumStatus(BaseModel):
    id: str
    finished: bool
    listing: bool
    listing_error: str | None
    percent: float
    total: int
    pending: int
    processing: int
    done: int
    failed: int
    skipped: int
    faces: int
    photos_per_second: float
    eta_seconds: float | None
    failures: list[FailedPhoto]


class UploadedPhoto(BaseModel):
    name: str
    id: UUID | None
    accepted: bool
    queued: bool
    code: str | None = None
    reason: str | None = None
    detail: str | None = None


class Uploads(BaseModel):
    accepted: int
    refused: int
    photos: list[UploadedPhoto]


class Accepted(BaseModel):
    accepted: bool
    photos: int | None = None


class AlbumPhoto(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    id: UUID
    name: str
    state: PhotoState
    reason: str | None
    attempts: int
    faces: int
    width: int | None
    height: int | None
    thumbnail_url: str | None
    """Expires; ask again for a new one."""
    original_url: str | None
    """Expires; ask again for a new one."""
    created_at: datetime
    finished_at: datetime | None


class GuestInFace(BaseModel):
    guest_id: str
    similarity: float


class FaceInPhoto(BaseModel):
    face_id: UUID
    box: Box
    confidence: float
    guests: list[GuestInFace]


class PhotoWithFaces(AlbumPhoto):
    found: list[FaceInPhoto]


class PhotoList(BaseModel):
    count: int
    photos: list[AlbumPhoto]
    next_token: str | None


class MatchedPhoto(BaseModel):
    id: UUID
    name: str
    match: Literal["high", "medium", "low"]
    similarity: float | None
    cosine: float | None
    box: Box
    width: int | None
    height: int | None
    thumbnail_url: str | None
    original_url: str | None


class MatchedPhotos(BaseModel):
    count: int
    photos: list[MatchedPhoto]
    next_token: str | None


class AlbumGuest(BaseModel):
    id: str
    user_id: str
    name: str | None
    photos: int
    created_at: datetime


class EnrolledGuest(AlbumGuest):
    created: bool


class GuestList(BaseModel):
    count: int
    guests: list[AlbumGuest]
    next_token: str | None


class JoinedAlbum(BaseModel):
    album_id: str
    title: str | None
    guest_id: str
    token: str
    token_type: str = "Bearer"  # noqa: S105  # the scheme's name
    expires_at: datetime


class ErasedGuest(BaseModel):
    erased: bool


def summary(album: Album) -> dict[str, Any]:
    """The fields of an AlbumSummary."""
    return {
        "id": album.album_id,
        "title": album.title,
        "source": album.source,
        "threshold": album.threshold,
        "retention_days": album.retention_days,
        "event_code": album.event_code,
        "recompress": album.recompress,
        "collection_id": album.album_id,
        "face_model_version": album.face_model_version,
        "created_at": album.created_at,
    }


def status(album_id: str, progress: Progress) -> AlbumStatus:
    counts = progress.counts
    ended = counts.done + counts.failed + counts.skipped
    return AlbumStatus(
        id=album_id,
        finished=progress.finished,
        listing=progress.listing,
        listing_error=progress.listing_error,
        percent=round(100 * ended / counts.total, 1) if counts.total else 100.0 * progress.finished,
        total=counts.total,
        pending=counts.pending,
        processing=counts.processing,
        done=counts.done,
        failed=counts.failed,
        skipped=counts.skipped,
        faces=counts.faces,
        photos_per_second=round(counts.rate, 2),
        eta_seconds=None if progress.eta_s is None else round(progress.eta_s, 1),
        failures=[
            FailedPhoto(id=photo.photo_id, name=photo.name, reason=photo.reason, attempts=photo.attempts)
            for photo in progress.failures
        ],
    )


def photo(request: Request, found: Photo) -> dict[str, Any]:
    """The fields of an AlbumPhoto."""
    thumbnail_url, original_url = links(request, found)
    return {
        "id": found.photo_id,
        "name": found.name,
        "state": found.state,
        "reason": found.reason,
        "attempts": found.attempts,
        "faces": found.faces,
        "width": found.width,
        "height": found.height,
        "thumbnail_url": thumbnail_url,
        "original_url": original_url,
        "created_at": found.created_at,
        "finished_at": found.finished_at,
    }


def matched(request: Request, match: PhotoMatch, *, coarse: bool) -> MatchedPhoto:
    """A photo with a person; `coarse` leaves the figures out, which would help to forge a selfie."""
    thumbnail_url, original_url = links(request, match.found.photo)
    similarity, box = match.similarity, match.found.box
    return MatchedPhoto(
        id=match.found.photo.photo_id,
        name=match.found.photo.name,
        match="high" if similarity >= 99 else "medium" if similarity >= 90 else "low",
        similarity=None if coarse else similarity,
        cosine=None if coarse else match.found.cosine,
        box=Box(left=box.left, top=box.top, width=box.width, height=box.height),
        width=match.found.photo.width,
        height=match.found.photo.height,
        thumbnail_url=thumbnail_url,
        original_url=original_url,
    )


def guest(found: Guest) -> dict[str, Any]:
    """The fields of an AlbumGuest."""
    return {
        "id": found.guest_id,
        "user_id": found.user_id,
        "name": found.name,
        "photos": found.photos,
        "created_at": found.created_at,
    }


def links(request: Request, found: Photo) -> tuple[str | None, str | None]:
    """Where a photo's thumbnail and original can be had for a while."""
    resources = resources_of(request)
    root = (resources.settings.public_url or str(request.base_url)).rstrip("/")

    def link(kind: Literal["thumbnail", "original"]) -> str:
        return f"{root}/api/v1/links/{resources.links.token(found.photo_id, kind)}"

    readable = found.state in ("done", "pending", "processing")
    return link("thumbnail") if readable and found.thumbnail else None, link("original") if readable else None
