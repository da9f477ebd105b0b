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


def pattern(regex: str) -> Any:
    """A constraint that the whole string matches, as AWS means its patterns."""
    return Field(pattern=rf"^(?:{regex})$", json_schema_extra={"x-aws-pattern": regex})


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


class ComparedFace(Shape):
    bounding_box: BoundingBox
    confidence: Percent
    landmarks: list[Landmark]
    pose: Pose
    quality: ImageQuality


class FaceDetail(ComparedFace):
    """A detected face with all that the models tell about it."""


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
