"""Rekognition's shapes: structures that requests and responses are made of.

Names, ranges, patterns and enums are botocore's; tests/api/test_contract.py compares each of them.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal


class Shape(BaseModel):
    """A structure of the service model: snake_case here, PascalCase on the wire."""

    model_config = ConfigDict(
        alias_generator=to_pascal, populate_by_name=True, frozen=True, serialize_by_alias=True
    )


def pattern(regex: str, ours: str | None = None) -> Any:
    """A constraint that the whole string matches, as AWS means its patterns.

    `ours` says the same where pydantic's engine does not take AWS's spelling.
    """
    return Field(pattern=rf"^(?:{ours or regex})$", json_schema_extra={"x-aws-pattern": regex})


CollectionId: TypeAlias = Annotated[str, Field(min_length=1, max_length=255), pattern(r"[a-zA-Z0-9_.\-]+")]
ExternalImageId: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=255), pattern(r"[a-zA-Z0-9_.\-:]+")
]
UserId: TypeAlias = Annotated[str, Field(min_length=1, max_length=128), pattern(r"[a-zA-Z0-9_.\-:]+")]
FaceId: TypeAlias = Annotated[str, pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")]
FaceIds: TypeAlias = Annotated[list[FaceId], Field(min_length=1, max_length=4096)]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Degree: TypeAlias = Annotated[float, Field(ge=-180, le=180)]
UInteger: TypeAlias = Annotated[int, Field(ge=0)]


class BoundingBox(Shape):
    width: float
    height: float
    left: float
    top: float


class Landmark(Shape):
    type: str
    x: float
    y: float


class Pose(Shape):
    roll: Degree
    yaw: Degree
    pitch: Degree


class ImageQuality(Shape):
    brightness: float
    sharpness: float


class EyeOpen(Shape):
    value: bool
    confidence: Percent


class MouthOpen(Shape):
    value: bool
    confidence: Percent


class Gender(Shape):
    value: str
    confidence: Percent


class AgeRange(Shape):
    low: UInteger
    high: UInteger


class ComparedFace(Shape):
    bounding_box: BoundingBox
    confidence: Percent
    landmarks: list[Landmark]
    pose: Pose
    quality: ImageQuality | None


class FaceDetail(ComparedFace):
    """A detected face with what was asked about it and a model tells."""

    age_range: AgeRange | None = None
    gender: Gender | None = None
    eyes_open: EyeOpen | None = None
    mouth_open: MouthOpen | None = None


class Face(Shape):
    face_id: FaceId
    bounding_box: BoundingBox
    image_id: FaceId
    external_image_id: str | None = None
    confidence: Percent
    index_faces_model_version: str
    user_id: str | None = None


class FaceRecord(Shape):
    face: Face
    face_detail: FaceDetail


class UnindexedFace(Shape):
    reasons: list[str]
    face_detail: FaceDetail


class FaceMatch(Shape):
    similarity: Percent
    face: Face


class ComparedSourceImageFace(Shape):
    bounding_box: BoundingBox
    confidence: Percent


class CompareFacesMatch(Shape):
    similarity: Percent
    face: ComparedFace


class UnsuccessfulFaceDeletion(Shape):
    face_id: FaceId
    user_id: str | None = None
    reasons: list[str]


class CreateCollectionResponse(Shape):
    status_code: UInteger
    collection_arn: str
    face_model_version: str


class DescribeCollectionResponse(Shape):
    face_count: UInteger
    face_model_version: str
    collection_arn: Annotated[str, Field(alias="CollectionARN")]
    creation_timestamp: float
    user_count: UInteger


class ListCollectionsResponse(Shape):
    collection_ids: list[str]
    next_token: str | None = None
    face_model_versions: list[str]


class DeleteCollectionResponse(Shape):
    status_code: UInteger


class IndexFacesResponse(Shape):
    face_records: list[FaceRecord]
    face_model_version: str
    unindexed_faces: list[UnindexedFace]


class ListFacesResponse(Shape):
    faces: list[Face]
    next_token: str | None = None
    face_model_version: str


class DeleteFacesResponse(Shape):
    deleted_faces: list[FaceId]
    unsuccessful_face_deletions: list[UnsuccessfulFaceDeletion]


class SearchFacesResponse(Shape):
    searched_face_id: FaceId
    face_matches: list[FaceMatch]
    face_model_version: str


class SearchFacesByImageResponse(Shape):
    searched_face_bounding_box: BoundingBox
    searched_face_confidence: Percent
    face_matches: list[FaceMatch]
    face_model_version: str


class DetectFacesResponse(Shape):
    face_details: list[FaceDetail]


class CompareFacesResponse(Shape):
    source_image_face: ComparedSourceImageFace
    face_matches: list[CompareFacesMatch]
    unmatched_faces: list[ComparedFace]


class User(Shape):
    user_id: str
    user_status: str


class CreateUserResponse(Shape):
    pass


class DeleteUserResponse(Shape):
    pass


class ListUsersResponse(Shape):
    users: list[User]
    next_token: str | None = None


class AssociatedFace(Shape):
    face_id: FaceId


class UnsuccessfulFaceAssociation(Shape):
    face_id: FaceId
    user_id: str | None = None
    confidence: Percent | None = None
    reasons: list[str]


class AssociateFacesResponse(Shape):
    associated_faces: list[AssociatedFace]
    unsuccessful_face_associations: list[UnsuccessfulFaceAssociation]
    user_status: str


class DisassociatedFace(Shape):
    face_id: FaceId


class UnsuccessfulFaceDisassociation(Shape):
    face_id: FaceId
    user_id: str | None = None
    reasons: list[str]


class DisassociateFacesResponse(Shape):
    disassociated_faces: list[DisassociatedFace]
    unsuccessful_face_disassociations: list[UnsuccessfulFaceDisassociation]
    user_status: str


class MatchedUser(Shape):
    user_id: str
    user_status: str


class UserMatch(Shape):
    similarity: Percent
    user: MatchedUser


class SearchedFace(Shape):
    face_id: FaceId


class SearchedUser(Shape):
    user_id: str


class SearchUsersResponse(Shape):
    user_matches: list[UserMatch]
    face_model_version: str
    searched_face: SearchedFace | None = None
    searched_user: SearchedUser | None = None


class SearchedFaceDetails(Shape):
    face_detail: FaceDetail


class UnsearchedFace(Shape):
    face_details: FaceDetail
    reasons: list[str]


class SearchUsersByImageResponse(Shape):
    user_matches: list[UserMatch]
    face_model_version: str
    searched_face: SearchedFaceDetails | None = None
    unsearched_faces: list[UnsearchedFace]


class TagResourceResponse(Shape):
    pass


class UntagResourceResponse(Shape):
    pass


class ListTagsForResourceResponse(Shape):
    tags: dict[str, str]
