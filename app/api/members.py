"""Member endpoints at the root, for FlutterFlow and curl. Answers are flat; thresholds are cosines."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from app.api import body
from app.api.access import Reader, ResourcesNow, Writer
from app.api.aws.shapes import CollectionId
from app.api.images import UPLOADS, Base64, Url, WithImage, one_of, required
from app.service.members import DEFAULT_COLLECTION

router = APIRouter(tags=["members"])

InCollection = Annotated[CollectionId, Query(description="The collection that holds the members")]
MemberId = Annotated[str, Field(examples=["123"], description="1 to 255 printable characters")]
Cosine = Annotated[float, Field(ge=-1, le=1, examples=[0.35])]
TopK = Annotated[int, Field(ge=1, le=100)]
PAIR_UPLOADS = frozenset({"a", "b"})


class Enroll(WithImage):
    member_id: MemberId


class Identify(WithImage):
    top_k: TopK = 1
    threshold: Cosine | None = None


class Verify(WithImage):
    member_id: MemberId
    threshold: Cosine | None = None


class Compare(body.Body):
    a: bytes | None = Field(default=None, repr=False)
    a_image_base64: Base64 | None = Field(default=None, repr=False)
    a_image_url: Url | None = None
    b: bytes | None = Field(default=None, repr=False)
    b_image_base64: Base64 | None = Field(default=None, repr=False)
    b_image_url: Url | None = None
    threshold: Cosine | None = None


class Enrolled(BaseModel):
    enrolled: bool
    created: bool = Field(description="Whether the member is new")
    face_created: bool = Field(description="False when this photo was enrolled before")
    member_id: str
    user_id: str = Field(description="The member's UserId for Rekognition clients")
    face_id: UUID
    image_id: UUID
    face_count: int
    collection_id: str


class IdentifiedMember(BaseModel):
    member_id: str
    similarity: float
    cosine: float


class Identified(BaseModel):
    identified: bool
    member_id: str | None = Field(description="The best match, or null")
    similarity: float
    cosine: float | None
    threshold: float
    matches: list[IdentifiedMember]


class Verified(BaseModel):
    verified: bool
    member_id: str
    similarity: float
    cosine: float | None
    threshold: float


class Compared(BaseModel):
    match: bool
    similarity: float
    cosine: float
    threshold: float


@router.post("/enroll", operation_id="EnrollFace", openapi_extra=body.openapi(Enroll, UPLOADS))
@router.post("/enroll/file", operation_id="EnrollFaceFile", openapi_extra=body.openapi(Enroll, UPLOADS))
async def enroll(
    request: Request,
    resources: ResourcesNow,
    caller: Writer,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Enrolled:
    """Add the largest face of an image to a member; a new id makes a new member."""
    asked = await body.read(request, Enroll, UPLOADS)
    image = asked.required_image(resources.settings, caller)
    done = await resources.members.enroll(caller, collection, asked.member_id, image)
    return Enrolled(
        enrolled=True,
        created=done.created,
        face_created=done.face_created,
        member_id=done.user.original,
        user_id=done.user.safe,
        face_id=done.face.face_id,
        image_id=done.face.image_id,
        face_count=done.faces,
        collection_id=collection,
    )


@router.post("/identify", operation_id="IdentifyFace", openapi_extra=body.openapi(Identify, UPLOADS))
async def identify(
    request: Request,
    resources: ResourcesNow,
    caller: Reader,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Identified:
    """Who the largest face of an image is: the `top_k` members at or above the threshold."""
    asked = await body.read(request, Identify, UPLOADS)
    threshold = _threshold(asked.threshold, resources)
    image = asked.required_image(resources.settings, caller)
    found = await resources.members.identify(
        caller, collection, image, min_cosine=threshold, limit=asked.top_k
    )
    best = found.matches[0] if found.matches else None
    return Identified(
        identified=best is not None,
        member_id=best.member_id if best else None,
        similarity=best.similarity if best else 0.0,
        cosine=best.cosine if best else None,
        threshold=threshold,
        matches=[
            IdentifiedMember(
                member_id=match.member_id,
                similarity=match.similarity,
                cosine=match.cosine,
            )
            for match in found.matches
        ],
    )


@router.post("/verify", operation_id="VerifyFace", openapi_extra=body.openapi(Verify, UPLOADS))
async def verify(
    request: Request,
    resources: ResourcesNow,
    caller: Reader,
    collection: InCollection = DEFAULT_COLLECTION,
) -> Verified:
    """Whether the largest face of an image is this member."""
    asked = await body.read(request, Verify, UPLOADS)
    threshold = _threshold(asked.threshold, resources)
    image = asked.required_image(resources.settings, caller)
    verdict = await resources.members.verify(caller, collection, asked.member_id, image, min_cosine=threshold)
    return Verified(
        verified=verdict.verified,
        member_id=asked.member_id,
        similarity=verdict.similarity,
        cosine=verdict.cosine,
        threshold=threshold,
    )


@router.post("/compare", operation_id="CompareFaces", openapi_extra=body.openapi(Compare, PAIR_UPLOADS))
async def compare(request: Request, resources: ResourcesNow, _: Reader) -> Compared:
    """Whether the largest faces of two images are the same person; nothing is stored."""
    asked = await body.read(request, Compare, PAIR_UPLOADS)
    threshold = _threshold(asked.threshold, resources)
    settings = resources.settings
    one = one_of((asked.a, asked.a_image_base64), asked.a_image_url, settings)
    other = one_of((asked.b, asked.b_image_base64), asked.b_image_url, settings)
    cosine, similarity = await resources.members.compare(
        required(one, "a, a_image_base64 or a_image_url"),
        required(other, "b, b_image_base64 or b_image_url"),
    )
    return Compared(match=cosine >= threshold, similarity=similarity, cosine=cosine, threshold=threshold)


def _threshold(asked: float | None, resources: ResourcesNow) -> float:
    return resources.settings.face_recognition_threshold if asked is None else asked
