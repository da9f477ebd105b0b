"""Member endpoints at the root, for FlutterFlow and curl. Thresholds are cosines."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from app.api import body, paging
from app.api import member_forms as forms
from app.api.access import Reader, ResourcesNow, Self, Writer, confirm_self
from app.api.aws.shapes import CollectionId
from app.api.images import UPLOADS, image_of
from app.domain import ImageInput, Member, Role
from app.resources import Resources
from app.service.members import DEFAULT_COLLECTION, IdentifiedFace, MemberMatch

router = APIRouter(tags=["members"])

InCollection = Annotated[CollectionId, Query(description="The collection that holds the members")]
# Ids may hold slashes.
InPath = Annotated[str, Path(min_length=1, max_length=1024, examples=["123"])]
_IMAGE = {"image_url": "https://example.org/photo.jpg"}
_ENROLL = {"member_id": "123", "supabase_path": "membros/123.jpg", "metadata": {"name": "Maria"}}
_ENROLL_BODY = body.openapi(forms.Enroll, forms.ENROLL_UPLOADS, forms.MANY_UPLOADS, _ENROLL)
_IDENTIFY_BODY = body.openapi(forms.Identify, UPLOADS, example={**_IMAGE, "threshold": "auto"})
_VERIFY_BODY = body.openapi(forms.Verify, UPLOADS, example={**_IMAGE, "member_id": "123"})
_COMPARE_BODY = body.openapi(
    forms.Compare,
    forms.PAIR_UPLOADS,
    example={"a_supabase_path": "membros/123.jpg", "b_image_url": "https://example.org/photo.jpg"},
)


@router.post("/enroll", operation_id="EnrollFace", openapi_extra=_ENROLL_BODY)
@router.post("/enroll/file", operation_id="EnrollFaceFile", openapi_extra=_ENROLL_BODY)
async def enroll(
    request: Request, resources: ResourcesNow, caller: Writer, collection: InCollection = DEFAULT_COLLECTION
) -> forms.Enrolled:
    """Add the largest face of each image to a member; a new id makes a new member."""
    asked = await body.read(request, forms.Enroll, forms.ENROLL_UPLOADS, forms.MANY_UPLOADS)
    done = await resources.members.enroll(
        caller,
        collection,
        asked.member_id,
        asked.every_image(resources.settings, caller),
        metadata=asked.metadata,
        replace=asked.mode == "replace",
        subject=asked.subject,
    )
    first = done.enrolled[0].face
    return forms.Enrolled(
        enrolled=True,
        created=done.created,
        face_created=any(item.created for item in done.enrolled),
        member_id=done.user.original,
        user_id=done.user.safe,
        face_id=first.face_id,
        image_id=first.image_id,
        face_count=done.faces,
        collection_id=collection,
        faces=[
            forms.EnrolledFace(face_id=item.face.face_id, image_id=item.face.image_id, created=item.created)
            for item in done.enrolled
        ],
    )


@router.get("/members", operation_id="ListMembers")
async def list_members(
    resources: ResourcesNow,
    caller: Reader,
    collection: InCollection = DEFAULT_COLLECTION,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> forms.MemberList:
    """Members in the order of their user ids."""
    listing = paging.members_in(resources.paging_secret, caller.account_id, collection)
    page = await resources.members.page(caller, collection, listing.key(next_token), limit)
    return forms.MemberList(
        count=len(page.items),
        members=[forms.MemberSummary(**_summary(member)) for member in page.items],
        next_token=listing.token(page.last_key),
    )


@router.get("/members/{member_id:path}", operation_id="GetMember")
async def get_member(
    member_id: InPath, resources: ResourcesNow, caller: Self, collection: InCollection = DEFAULT_COLLECTION
) -> forms.MemberDetail:
    """A member with their faces."""
    await confirm_self(resources, caller, collection, member_id)
    member, faces = await resources.members.get(caller, collection, member_id)
    return forms.MemberDetail(
        **_summary(member),
        faces=[
            forms.MemberFace(
                face_id=face.face_id,
                image_id=face.image_id,
                confidence=face.confidence,
                stored_photo=face.photo is not None,
            )
            for face in faces
        ],
    )


@router.patch(
    "/members/{member_id:path}",
    operation_id="UpdateMember",
    openapi_extra=body.openapi(forms.Update, example={"metadata": {"name": "Maria", "old_key": None}}),
)
async def update_member(
    request: Request,
    member_id: InPath,
    resources: ResourcesNow,
    caller: Writer,
    collection: InCollection = DEFAULT_COLLECTION,
) -> forms.MemberSummary:
    """Change a member's metadata, or the app user who is this member."""
    asked = await body.read(request, forms.Update)
    member = await resources.members.update(
        caller, collection, member_id, metadata=asked.metadata or {}, subject=asked.subject
    )
    return forms.MemberSummary(**_summary(member))


@router.delete("/members/{member_id:path}", operation_id="DeleteMember")
async def delete_member(
    member_id: InPath, resources: ResourcesNow, caller: Self, collection: InCollection = DEFAULT_COLLECTION
) -> forms.Erased:
    """Erase a member with every face, vector and photo reference."""
    await confirm_self(resources, caller, collection, member_id, others=Role.WRITE, operation="DeleteMember")
    gone = await resources.members.erase(caller, collection, member_id)
    return forms.Erased(deleted=True, member_id=member_id, faces_deleted=gone)


@router.post("/identify", operation_id="IdentifyFace", openapi_extra=_IDENTIFY_BODY)
async def identify(
    request: Request, resources: ResourcesNow, caller: Reader, collection: InCollection = DEFAULT_COLLECTION
) -> forms.Identified:
    """Who is in an image: the `top_k` members at or above the threshold, of the largest face or of all."""
    asked = await body.read(request, forms.Identify, UPLOADS)
    automatic = asked.threshold == "auto"
    fixed = asked.threshold if isinstance(asked.threshold, float) else None
    found = await resources.members.identify(
        caller,
        collection,
        asked.required_image(resources.settings, caller),
        min_cosine=None if automatic else _threshold(fixed, resources),
        limit=asked.top_k,
        every_face=asked.faces == "all",
    )
    faces = [_identified(face) for face in found.faces]
    return forms.Identified(
        identified=faces[0].identified,
        member_id=faces[0].member_id,
        similarity=faces[0].similarity,
        cosine=faces[0].cosine,
        threshold=found.threshold,
        threshold_mode="auto" if automatic else "fixed",
        face_count=len(faces),
        matches=faces[0].matches,
        faces=faces if asked.faces == "all" else [],
    )


@router.post("/verify", operation_id="VerifyFace", openapi_extra=_VERIFY_BODY)
async def verify(
    request: Request, resources: ResourcesNow, caller: Self, collection: InCollection = DEFAULT_COLLECTION
) -> forms.Verified:
    """Whether the largest face of an image is this member."""
    asked = await body.read(request, forms.Verify, UPLOADS)
    await confirm_self(resources, caller, collection, asked.member_id)
    threshold = _threshold(asked.threshold, resources)
    image: ImageInput = asked.required_image(resources.settings, caller)
    verdict = await resources.members.verify(caller, collection, asked.member_id, image, min_cosine=threshold)
    return forms.Verified(
        verified=verdict.verified,
        member_id=asked.member_id,
        similarity=verdict.similarity,
        cosine=verdict.cosine,
        threshold=threshold,
    )


@router.post("/compare", operation_id="CompareFaces", openapi_extra=_COMPARE_BODY)
async def compare(request: Request, resources: ResourcesNow, caller: Reader) -> forms.Compared:
    """Whether the largest faces of two images are the same person; nothing is stored."""
    asked = await body.read(request, forms.Compare, forms.PAIR_UPLOADS)
    threshold = _threshold(asked.threshold, resources)
    settings = resources.settings
    cosine, similarity = await resources.members.compare(
        caller, image_of(asked, "a", settings, caller), image_of(asked, "b", settings, caller)
    )
    return forms.Compared(
        match=cosine >= threshold, similarity=similarity, cosine=cosine, threshold=threshold
    )


def _threshold(asked: float | None, resources: Resources) -> float:
    own = resources.pack.member_threshold
    preferred = resources.settings.face_recognition_threshold
    return asked if asked is not None else own if preferred is None else preferred


def _summary(member: Member) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "user_id": member.user_id,
        "face_count": member.faces,
        "created_at": member.created_at,
        "metadata": member.metadata,
    }


def _identified(found: IdentifiedFace) -> forms.IdentifiedFace:
    best = found.matches[0] if found.matches else None
    box = found.face.box
    return forms.IdentifiedFace(
        identified=best is not None,
        member_id=best.member_id if best else None,
        similarity=best.similarity if best else 0.0,
        cosine=best.cosine if best else None,
        box=forms.FaceBox(left=box.left, top=box.top, width=box.width, height=box.height),
        matches=[_match(match) for match in found.matches],
    )


def _match(match: MemberMatch) -> forms.IdentifiedMember:
    return forms.IdentifiedMember(
        member_id=match.member_id,
        similarity=match.similarity,
        cosine=match.cosine,
        metadata=dict(match.metadata),
    )
