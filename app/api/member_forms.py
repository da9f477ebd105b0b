"""What the member endpoints take and answer. Answers are flat: booleans, numbers and texts first."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, from_json

from app.api import body, limits
from app.api.images import (
    IMAGE_FIELDS,
    Base64,
    NamedImage,
    S3Bucket,
    S3Key,
    SupabasePath,
    Url,
    WithImage,
)
from app.domain import Caller, ImageInput, InlineImage
from app.errors import InvalidParameterException
from app.settings import Settings

MAX_IMAGES = 10
MAX_LISTED = 10_000
ENROLL_UPLOADS = frozenset({"file", "image", "files"})
MANY_UPLOADS = frozenset({"files"})
PAIR_UPLOADS = frozenset({"a", "b"})


def _json_text(value: Any) -> Any:
    """Forms send an object as its JSON text."""
    if not isinstance(value, str):
        return value
    try:
        found = from_json(value, allow_inf_nan=False)
    except ValueError:
        raise PydanticCustomError("json", "is not valid JSON") from None
    body.refuse_unstorable(found)
    return found


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _threshold_or_auto(value: Any) -> Any:
    """A number also as the text that a form sends."""
    if value == "auto":
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not -1 <= number <= 1:
        raise PydanticCustomError("threshold", "is a cosine from -1 to 1, or auto")
    return number


MemberId: TypeAlias = Annotated[
    str,
    BeforeValidator(_as_text),
    # Checked with the rules of ids, which have a code of their own.
    Field(
        examples=["123"],
        description="1 to 255 printable characters",
        json_schema_extra={"minLength": 1, "maxLength": 255},
    ),
]
Metadata: TypeAlias = Annotated[
    dict[str, Any],
    BeforeValidator(_json_text),
    Field(examples=[{"name": "Maria"}], description="The client's own; at most 16,384 characters of JSON"),
]
Cosine: TypeAlias = Annotated[float, Field(ge=-1, le=1, examples=[0.35])]
TopK: TypeAlias = Annotated[int, Field(ge=1, le=100)]
MetadataAnswer: TypeAlias = Annotated[dict[str, Any], Field(examples=[{"name": "Maria"}])]


class Enroll(WithImage):
    """One image, or up to 10: `files` as uploads, `images` as JSON."""

    empty_counts = frozenset({"member_id"})

    member_id: MemberId
    files: list[bytes] | None = Field(default=None, repr=False, max_length=MAX_IMAGES)
    images: Annotated[list[NamedImage], BeforeValidator(_json_text), Field(max_length=MAX_IMAGES)] | None = (
        None
    )
    metadata: Metadata | None = None
    mode: Literal["add", "replace"] = Field(
        default="add", description="replace drops the member's other faces"
    )
    subject: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="The `sub` of the app user who is this member"
    )

    def every_image(self, settings: Settings, caller: Caller) -> list[ImageInput]:
        """All images of the request, 1 to 10.

        Raises:
            InvalidParameterException: none, more than 10, or one that is named twice.
        """
        found = self.sources(settings, caller) + [InlineImage(data) for data in self.files or ()]
        inputs = [limits.rest(source, settings) for source in found]
        inputs += [image.the_image(settings, caller) for image in self.images or ()]
        if not 1 <= len(inputs) <= MAX_IMAGES:
            raise InvalidParameterException(
                f"Send 1 to {MAX_IMAGES} images: file, files, images, {IMAGE_FIELDS}",
                reason="InvalidImageFields",
            )
        return inputs


class Identify(WithImage):
    top_k: TopK = 1
    threshold: Annotated[Cosine | Literal["auto"], BeforeValidator(_threshold_or_auto)] | None = Field(
        default=None, description="A cosine; auto: by the size of the collection; none: the configured one"
    )
    faces: Literal["largest", "all"] = "largest"


class Verify(WithImage):
    empty_counts = frozenset({"member_id"})

    member_id: MemberId
    threshold: Cosine | None = None


class Compare(body.Body):
    a: bytes | None = Field(default=None, repr=False)
    a_image_base64: Base64 | None = Field(default=None, repr=False)
    a_image_url: Url | None = None
    a_supabase_path: SupabasePath | None = None
    a_s3_bucket: S3Bucket | None = None
    a_s3_key: S3Key | None = None
    b: bytes | None = Field(default=None, repr=False)
    b_image_base64: Base64 | None = Field(default=None, repr=False)
    b_image_url: Url | None = None
    b_supabase_path: SupabasePath | None = None
    b_s3_bucket: S3Bucket | None = None
    b_s3_key: S3Key | None = None
    threshold: Cosine | None = None


class Update(body.Body):
    """`metadata` is merged into what is there, and a key with null is removed (RFC 7396)."""

    empty_counts = frozenset({"subject"})

    metadata: Metadata | None = None
    subject: Annotated[str, Field(max_length=255)] | None = Field(
        default=None, description="The `sub` of the app user who is this member; an empty text unbinds"
    )


class ListedPhoto(NamedImage):
    member_id: MemberId


class Index(body.Body):
    """`prefix`, `photos`, or neither: then every face of the collection is embedded anew from its photo."""

    empty_counts = frozenset({"prefix"})

    prefix: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None,
        examples=["membros/"],
        description="Of paths in SUPABASE_STORAGE_BUCKET, or s3://bucket/prefix",
    )
    member_id_from: Literal["filename", "folder"] = Field(
        default="filename", description="membros/123.jpg is 123; by folder membros/123/a.jpg is"
    )
    photos: Annotated[list[ListedPhoto], Field(min_length=1, max_length=MAX_LISTED)] | None = None
    allow_missing: bool = Field(
        default=False,
        description="Switch to a new model although some faces have no photo to be read: drop them",
    )


class _Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class EnrolledFace(_Answer):
    face_id: UUID
    image_id: UUID
    created: bool = Field(description="False when this photo was enrolled before")


class Enrolled(_Answer):
    enrolled: bool
    created: bool = Field(description="Whether the member is new")
    face_created: bool = Field(description="False when every photo was enrolled before")
    member_id: str
    user_id: str = Field(description="The member's UserId for Rekognition clients")
    face_id: UUID = Field(description="Of the first photo")
    image_id: UUID
    face_count: int
    collection_id: str
    faces: list[EnrolledFace]


class IdentifiedMember(_Answer):
    member_id: str
    similarity: float
    cosine: float
    metadata: MetadataAnswer


class FaceBox(_Answer):
    """Ratios of the upright image; they may reach outside 0..1."""

    left: float
    top: float
    width: float
    height: float


class IdentifiedFace(_Answer):
    identified: bool
    member_id: str | None
    similarity: float
    cosine: float | None
    box: FaceBox
    matches: list[IdentifiedMember]


class Identified(_Answer):
    identified: bool
    member_id: str | None = Field(description="The best match of the largest face, or null")
    similarity: float
    cosine: float | None
    threshold: float = Field(description="The cosine that was used")
    threshold_mode: Literal["fixed", "auto"]
    face_count: int
    matches: list[IdentifiedMember] = Field(description="Of the largest face, the best first")
    faces: list[IdentifiedFace] = Field(description="With `faces: all`, the largest first")


class Verified(_Answer):
    verified: bool
    member_id: str
    similarity: float
    cosine: float | None = Field(description="null when the member has no face")
    threshold: float


class Compared(_Answer):
    match: bool
    similarity: float
    cosine: float
    threshold: float


class MemberSummary(_Answer):
    member_id: str
    user_id: str
    face_count: int
    created_at: datetime
    metadata: MetadataAnswer


class MemberFace(_Answer):
    face_id: UUID
    image_id: UUID
    confidence: float
    stored_photo: bool = Field(description="Whether the service knows where the photo lies")


class MemberDetail(MemberSummary):
    faces: list[MemberFace]


class MemberList(_Answer):
    count: int
    members: list[MemberSummary]
    next_token: str | None = Field(description="Send it to get the next page; null at the end")


class Erased(_Answer):
    deleted: bool
    member_id: str
    faces_deleted: int


class IndexFailure(_Answer):
    member_id: str | None
    reason: str
    photo: int = Field(description="Its place among the photos of the job, from 0")
    face_id: UUID = Field(description="The face that it was to bring, or to renew")


class IndexJob(_Answer):
    job_id: UUID
    status: Literal["queued", "running", "succeeded", "failed"]
    finished: bool
    percent: float = Field(ge=0, le=100)
    total: int
    done: int
    failed: int
    reason: str | None = Field(description="Why the job failed")
    collection_id: str
    created_at: datetime
    finished_at: datetime | None
    failures: list[IndexFailure] = Field(description="At most 100 photos that could not be indexed")
