"""Values that cross layers. All frozen; boxes and points are ratios of the upright image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Vector: TypeAlias = NDArray[np.float32]
"""A face embedding of unit length, shape (d,)."""

Floats: TypeAlias = NDArray[np.float32]
"""What networks take and give, of any shape."""

Pixels: TypeAlias = NDArray[np.uint8]
"""An upright image, shape (height, width, 3), channels in OpenCV's order (BGR)."""


class Role(IntEnum):
    """What a caller may do; each includes those before it.

    SELF is an app user without more rights: they may see, verify and erase the member that they are.
    GUEST is somebody with an album's event code: their own selfie and photos in that album, nothing else.
    """

    GUEST = -1
    SELF = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Every row belongs to an account, and no query runs without one.

    `collections` are patterns of collection ids, in which `*` stands for anything; what they leave out
    does not exist for the caller. `subject` is the app user's id in their token; `access_key_id` is of
    callers by key.
    """

    account_id: str
    role: Role = Role.ADMIN
    collections: tuple[str, ...] = ("*",)
    subject: str | None = None
    access_key_id: str | None = None

    def sees(self, collection_id: str) -> bool:
        """Whether one of the patterns matches."""
        return any(_matches(pattern, collection_id) for pattern in self.collections)

    def may_see_of(self, owner: str | None) -> bool:
        """Whether the caller may see a collection of this owner: app users see no album of another one."""
        if owner is None or self.subject is None or self.subject == owner:
            return True
        return self.role in (Role.ADMIN, Role.GUEST)

    @property
    def own_subject(self) -> str | None:
        """Whose albums alone the caller sees, and makes; None for those who see all."""
        return None if self.role is Role.ADMIN else self.subject


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern with `*` for anything is all of a text; in linear time, unlike a regex."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in others[:-1]:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - at >= len(others[-1]) and text.endswith(others[-1])


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key that signs requests, and what it may do."""

    access_key_id: str
    secret: str
    caller: Caller

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id})"  # never the secret


@dataclass(frozen=True, slots=True)
class Box:
    """A bounding box as ratios of the image's width and height; it may reach outside 0..1."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    def iou(self, other: "Box") -> float:
        """Intersection over union with another box, 0..1."""
        across = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        down = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        if across <= 0 or down <= 0:
            return 0.0
        shared = across * down
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True)
class Landmark:
    """A point of the face; `type` is one of Rekognition's landmark types."""

    type: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Rotation of the head in degrees, each -180..180."""

    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Image quality of the face, each 0..100."""

    brightness: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class Sign:
    """Whether something shows in a face, and how sure that is, 50..100."""

    value: bool
    confidence: float


@dataclass(frozen=True, slots=True)
class Gender:
    """`value` is Male or Female; `confidence` 50..100."""

    value: str
    confidence: float


@dataclass(frozen=True, slots=True)
class AgeRange:
    """Years, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Details:
    """What the 106 points of a face tell, and the age model where a pack has one."""

    landmarks: tuple[Landmark, ...]
    pose: Pose
    eyes_open: Sign
    mouth_open: Sign
    gender: Gender | None = None
    age: AgeRange | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    `confidence` is 0..100, `side_px` the shorter side of its box in pixels; `landmarks` and `pose` are
    those of the detector, `details` has better ones. `reasons` are Rekognition's reasons why it fails the
    quality level that was asked for. `quality` is None where nobody wants it. `strength` is the length of
    the network's vector, before it was made a unit vector, over the usual length; None where that is not
    known.
    """

    box: Box
    confidence: float
    landmarks: tuple[Landmark, ...]
    pose: Pose
    side_px: float
    quality: Quality | None = None
    details: Details | None = None
    reasons: tuple[str, ...] = ()
    embedding: Vector | None = None
    strength: float | None = None


class Embed(StrEnum):
    """Which faces of an image get an embedding; the others cost no recognition.

    LARGEST is the largest that passes the quality level, ALL are all that pass it.
    """

    NONE = "none"
    LARGEST = "largest"
    ALL = "all"


class QualityLevel(StrEnum):
    """Rekognition's QualityFilter."""

    NONE = "NONE"
    AUTO = "AUTO"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class Detail(IntEnum):
    """How much is found out about each face; more costs more."""

    BOX = 0
    POINTS = 1
    AGE_AND_GENDER = 2


class Picture(Protocol):
    """An upright image that may be decoded as far as it is needed."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all of it, in pixels."""

    def pixels(self, long_side: int | None) -> Pixels:
        """Shape (height, width, 3), BGR: with at least this long side, or all there is."""


@dataclass(frozen=True, slots=True)
class WholePicture:
    """A picture that is decoded already."""

    image: Pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]

    def pixels(self, long_side: int | None) -> Pixels:
        return self.image


@dataclass(frozen=True, slots=True)
class Look:
    """What to find out about an image: about its `max_faces` largest faces, and which are good enough.

    `mirror`: embed each face with its mirror image, which costs as much again and finds a little more.
    `alone`: nothing but the largest face is wanted, and finding it may cost less than finding all.
    `keep`: with Embed.ALL, so many faces are embedded at most: those of the best quality, then the largest.
    """

    embed: Embed
    max_faces: int
    quality: QualityLevel = QualityLevel.NONE
    detail: Detail = Detail.BOX
    mirror: bool = False
    alone: bool = False
    keep: int | None = None

    @property
    def measures_quality(self) -> bool:
        """Whether anybody wants to know how sharp and bright the faces are."""
        return self.detail > Detail.BOX or self.quality is not QualityLevel.NONE or self.keep is not None


class ImageFormat(StrEnum):
    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    HEIC = "HEIC"


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a door accepts as an image; `min_side_px` is the least width and height."""

    max_bytes: int
    max_pixels: int
    min_side_px: int
    formats: frozenset[ImageFormat]


@dataclass(frozen=True, slots=True)
class InlineImage:
    data: bytes


@dataclass(frozen=True, slots=True)
class S3Image:
    """An object that an account names; the service reads it only where that account may."""

    account_id: str
    bucket: str
    key: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class UrlImage:
    url: str


@dataclass(frozen=True, slots=True)
class SupabaseImage:
    """An object of a Supabase bucket, by its path in it; read only where the account may."""

    account_id: str
    bucket: str
    path: str


@dataclass(frozen=True, slots=True)
class FolderImage:
    """A file of this machine, by its absolute path; read only where the account may."""

    account_id: str
    path: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A file of the service's own storage: an upload or a thumbnail. Clients can't name one."""

    key: str


Prefix: TypeAlias = S3Image | SupabaseImage | FolderImage
"""The beginning of the places of many photos."""

ImageSource: TypeAlias = InlineImage | UrlImage | StoredImage | Prefix


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object of a listing; `version` changes when the object does."""

    source: Prefix
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class FetchedObject:
    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image that a client names, and what its door accepts as one."""

    source: ImageSource
    limits: ImageLimits


@dataclass(frozen=True, slots=True)
class Collection:
    """`owner` is the app user whose album it is, if it is one's."""

    collection_id: str
    face_model_version: str
    created_at: datetime
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionCounts:
    faces: int
    users: int


@dataclass(frozen=True, slots=True)
class PublicId:
    """An id as its owner wrote it, and a form of it that Rekognition's patterns allow.

    Both are the same where the id already fits the pattern.
    """

    original: str
    safe: str


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face as it lies in a collection. `photo` says where its photo lies, if the service can read it."""

    face_id: UUID
    image_id: UUID
    external_image_id: PublicId | None
    user_id: str | None
    box: Box
    confidence: float
    photo: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A person of a collection as the member doors show them; `metadata` is the client's own."""

    member_id: str
    user_id: str
    metadata: Mapping[str, Any]
    faces: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person of a collection. `active` once they have a face."""

    user_id: str
    active: bool


@dataclass(frozen=True, slots=True)
class Match:
    """A stored face that resembles the one searched for."""

    face: StoredFace
    cosine: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a listing, and the key to continue after."""

    items: Sequence[T]
    last_key: str | None
