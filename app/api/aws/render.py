"""Domain values as Rekognition's shapes; the REST door answers with the same ones."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from app import domain
from app.api.aws import shapes
from app.api.aws.attributes import Attribute, shows
from app.api.paging import Listing
from app.service.collections import Description
from app.service.results import Comparison, ImageSearch, Indexed
from app.service.users import Associations, UserImageSearch, UserMatch

_DIGITS = 6
ComparedT = TypeVar("ComparedT", bound=shapes.ComparedFace)


def arn(region: str, caller: domain.Caller, collection_id: str) -> str:
    """CreateCollection's form of a collection's name; DescribeCollection's has `arn:` before it."""
    return f"aws:rekognition:{region}:{caller.account_id}:collection/{collection_id}"


def box(value: domain.Box) -> shapes.BoundingBox:
    # As many digits as are stored: a face has the same box in every answer.
    left, top, width, height = (
        round(side, _DIGITS) for side in (value.left, value.top, value.width, value.height)
    )
    return shapes.BoundingBox(width=width, height=height, left=left, top=top)


def detail(face: domain.Face, asked: Sequence[Attribute] | None = None) -> shapes.FaceDetail:
    """A face with the attributes asked for, as far as a model of the pack tells them."""
    basic = _measured(shapes.FaceDetail, face)
    more = face.details
    if more is None or not asked:
        return basic
    found: dict[str, shapes.Shape | list[shapes.Landmark]] = {}
    if Attribute.ALL in asked:
        found["landmarks"] = _landmarks(more.landmarks)
    if shows(asked, Attribute.EYES_OPEN):
        sign = more.eyes_open
        found["eyes_open"] = shapes.EyeOpen(value=sign.value, confidence=sign.confidence)
    if shows(asked, Attribute.MOUTH_OPEN):
        sign = more.mouth_open
        found["mouth_open"] = shapes.MouthOpen(value=sign.value, confidence=sign.confidence)
    if more.gender is not None and shows(asked, Attribute.GENDER):
        found["gender"] = shapes.Gender(value=more.gender.value, confidence=more.gender.confidence)
    if more.age is not None and shows(asked, Attribute.AGE_RANGE):
        found["age_range"] = shapes.AgeRange(low=more.age.low, high=more.age.high)
    return basic.model_copy(update=found)


def _measured(shape: type[ComparedT], face: domain.Face) -> ComparedT:
    """What every answer shows: five landmarks, and the best pose there is."""
    points, pose = face.landmarks, face.pose
    if face.details is not None:
        points, pose = face.details.landmarks[: len(points)], face.details.pose
    return shape(
        bounding_box=box(face.box),
        confidence=_percent(face.confidence),
        landmarks=_landmarks(points),
        pose=shapes.Pose(roll=pose.roll, yaw=pose.yaw, pitch=pose.pitch),
        quality=_quality(face.quality),
    )


def _quality(quality: domain.Quality | None) -> shapes.ImageQuality | None:
    if quality is None:
        return None
    return shapes.ImageQuality(brightness=quality.brightness, sharpness=quality.sharpness)


def _landmarks(points: Sequence[domain.Landmark]) -> list[shapes.Landmark]:
    return [shapes.Landmark(type=point.type, x=point.x, y=point.y) for point in points]


def face(stored: domain.StoredFace, model: str, *, as_written: bool = False) -> shapes.Face:
    """A stored face. `as_written` shows an ExternalImageId that Rekognition's pattern would refuse."""
    external = stored.external_image_id
    return shapes.Face(
        face_id=str(stored.face_id),
        bounding_box=box(stored.box),
        image_id=str(stored.image_id),
        external_image_id=None if external is None else external.original if as_written else external.safe,
        confidence=_percent(stored.confidence),
        index_faces_model_version=model,
        user_id=stored.user_id,
    )


def indexed(
    found: Indexed, model: str, asked: Sequence[Attribute] | None, *, as_written: bool = False
) -> shapes.IndexFacesResponse:
    return shapes.IndexFacesResponse(
        face_records=[
            shapes.FaceRecord(
                face=face(record.stored, model, as_written=as_written),
                face_detail=detail(record.detail, asked),
            )
            for record in found.records
        ],
        face_model_version=model,
        unindexed_faces=[
            shapes.UnindexedFace(reasons=list(left.reasons), face_detail=detail(left.detail, asked))
            for left in found.unindexed
        ],
    )


def matches(
    found: tuple[domain.Match, ...], model: str, *, as_written: bool = False
) -> list[shapes.FaceMatch]:
    return [
        shapes.FaceMatch(
            similarity=_percent(match.similarity), face=face(match.face, model, as_written=as_written)
        )
        for match in found
    ]


def searched(
    found: ImageSearch, model: str, *, as_written: bool = False
) -> shapes.SearchFacesByImageResponse:
    return shapes.SearchFacesByImageResponse(
        searched_face_bounding_box=box(found.searched.box),
        searched_face_confidence=_percent(found.searched.confidence),
        face_matches=matches(found.matches, model, as_written=as_written),
        face_model_version=model,
    )


def compared(found: Comparison) -> shapes.CompareFacesResponse:
    return shapes.CompareFacesResponse(
        source_image_face=shapes.ComparedSourceImageFace(
            bounding_box=box(found.source.box), confidence=_percent(found.source.confidence)
        ),
        face_matches=[
            shapes.CompareFacesMatch(
                similarity=_percent(match.similarity), face=_measured(shapes.ComparedFace, match.face)
            )
            for match in found.matches
        ],
        unmatched_faces=[_measured(shapes.ComparedFace, other.face) for other in found.unmatched],
    )


def _percent(value: float) -> float:
    return round(min(100.0, max(0.0, value)), 4)


def described(found: Description, arn: str) -> shapes.DescribeCollectionResponse:
    return shapes.DescribeCollectionResponse(
        face_count=found.counts.faces,
        face_model_version=found.collection.face_model_version,
        collection_arn=f"arn:{arn}",
        creation_timestamp=round(found.collection.created_at.timestamp(), 3),
        user_count=found.counts.users,
    )


def collections(page: domain.Page[domain.Collection], listing: Listing) -> shapes.ListCollectionsResponse:
    return shapes.ListCollectionsResponse(
        collection_ids=[found.collection_id for found in page.items],
        next_token=listing.token(page.last_key),
        face_model_versions=[found.face_model_version for found in page.items],
    )


def faces(
    page: domain.Page[domain.StoredFace], model: str, listing: Listing, *, as_written: bool = False
) -> shapes.ListFacesResponse:
    return shapes.ListFacesResponse(
        faces=[face(stored, model, as_written=as_written) for stored in page.items],
        next_token=listing.token(page.last_key),
        face_model_version=model,
    )


def deleted(gone: list[UUID], refused: list[tuple[UUID, str | None, str]]) -> shapes.DeleteFacesResponse:
    return shapes.DeleteFacesResponse(
        deleted_faces=[str(face_id) for face_id in gone],
        unsuccessful_face_deletions=[
            shapes.UnsuccessfulFaceDeletion(face_id=str(face_id), user_id=user_id, reasons=[reason])
            for face_id, user_id, reason in refused
        ],
    )


def users(page: domain.Page[domain.User], listing: Listing) -> shapes.ListUsersResponse:
    return shapes.ListUsersResponse(
        users=[shapes.User(user_id=user.user_id, user_status=_status(user.active)) for user in page.items],
        next_token=listing.token(page.last_key),
    )


def associated(found: Associations) -> shapes.AssociateFacesResponse:
    return shapes.AssociateFacesResponse(
        associated_faces=[shapes.AssociatedFace(face_id=str(face_id)) for face_id in found.done],
        unsuccessful_face_associations=[
            shapes.UnsuccessfulFaceAssociation(
                face_id=str(refused.face_id),
                user_id=refused.user_id,
                confidence=refused.similarity,
                reasons=[refused.reason],
            )
            for refused in found.refused
        ],
        user_status=_status(found.active),
    )


def disassociated(found: Associations) -> shapes.DisassociateFacesResponse:
    return shapes.DisassociateFacesResponse(
        disassociated_faces=[shapes.DisassociatedFace(face_id=str(face_id)) for face_id in found.done],
        unsuccessful_face_disassociations=[
            shapes.UnsuccessfulFaceDisassociation(
                face_id=str(refused.face_id), user_id=refused.user_id, reasons=[refused.reason]
            )
            for refused in found.refused
        ],
        user_status=_status(found.active),
    )


def users_like(
    found: tuple[UserMatch, ...], model: str, face_id: str | None, user_id: str | None
) -> shapes.SearchUsersResponse:
    return shapes.SearchUsersResponse(
        user_matches=_user_matches(found),
        face_model_version=model,
        searched_face=shapes.SearchedFace(face_id=face_id) if face_id else None,
        searched_user=shapes.SearchedUser(user_id=user_id) if user_id else None,
    )


def users_in_image(found: UserImageSearch, model: str) -> shapes.SearchUsersByImageResponse:
    return shapes.SearchUsersByImageResponse(
        user_matches=_user_matches(found.matches),
        face_model_version=model,
        searched_face=shapes.SearchedFaceDetails(face_detail=detail(found.searched))
        if found.searched
        else None,
        unsearched_faces=[
            shapes.UnsearchedFace(face_details=detail(left.face), reasons=list(left.reasons))
            for left in found.unsearched
        ],
    )


def _user_matches(found: tuple[UserMatch, ...]) -> list[shapes.UserMatch]:
    # Only users with faces can be found, and those are active.
    return [
        shapes.UserMatch(
            similarity=_percent(match.similarity),
            user=shapes.MatchedUser(user_id=match.user_id, user_status=_status(active=True)),
        )
        for match in found
    ]


def _status(active: bool) -> str:
    return "ACTIVE" if active else "CREATED"
