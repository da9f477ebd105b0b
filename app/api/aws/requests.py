"""Rekognition's request shapes, with the constraints of botocore's service model."""

import binascii
from typing import Annotated, Any, TypeAlias

import pybase64
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.aws.attributes import Attributes
from app.api.aws.shapes import (
    CollectionId,
    ExternalImageId,
    FaceId,
    FaceIds,
    Percent,
    Shape,
    UserId,
    pattern,
)
from app.domain import InlineImage, QualityLevel, S3Image
from app.errors import InvalidS3ObjectException

MAX_RESULTS = 4096
MAX_USERS = 500


class Request(Shape):
    """Strict: a number in quotes is refused, as AWS refuses it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, members: Any) -> Any:
        if isinstance(members, dict):
            return {name: value for name, value in members.items() if value is not None}
        return members


def _base64(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("blob_type", "a blob is base64 text")
    try:
        return pybase64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("blob_base64", "a blob is not valid base64") from None


def _no_aws_prefix(key: str) -> str:
    if key.startswith("aws:"):
        raise PydanticCustomError("string_pattern_mismatch", "reserved", {"pattern": "^(?!aws:)"})
    return key


def _at_most_200(tags: Any) -> Any:
    # Before each of them is looked at.
    if isinstance(tags, dict) and len(tags) > 200:
        raise PydanticCustomError("too_long", "too many", {"max_length": 200})
    return tags


# The greatest length of a blob is checked as an image limit: it has an error of its own.
Blob: TypeAlias = Annotated[bytes, BeforeValidator(_base64), Field(min_length=1)]
_TAG_CHARACTERS = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
TagKey: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=128),
    pattern(rf"^(?!aws:){_TAG_CHARACTERS}$", _TAG_CHARACTERS),
    AfterValidator(_no_aws_prefix),
]
TagValue: TypeAlias = Annotated[
    str, Field(max_length=256), pattern(rf"^({_TAG_CHARACTERS})$", _TAG_CHARACTERS)
]
Tags: TypeAlias = Annotated[dict[TagKey, TagValue], Field(max_length=200), BeforeValidator(_at_most_200)]
PaginationToken: TypeAlias = Annotated[str, Field(max_length=255)]
PageSize: TypeAlias = Annotated[int, Field(ge=0, le=MAX_RESULTS)]
MaxFaces: TypeAlias = Annotated[int, Field(ge=1, le=MAX_RESULTS)]


class S3Object(Request):
    bucket: Annotated[str, Field(min_length=3, max_length=255), pattern(r"[0-9A-Za-z\.\-_]*")] | None = None
    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    version: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


class Image(Request):
    bytes_: Blob | None = Field(default=None, alias="Bytes", repr=False)
    s3_object: S3Object | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Image":
        if (self.bytes_ is None) == (self.s3_object is None):
            raise PydanticCustomError("invalid_parameters", "an image has either Bytes or S3Object")
        return self

    def source(self, account_id: str) -> InlineImage | S3Image:
        """Where the image comes from; InvalidS3ObjectException when its S3Object is incomplete."""
        if self.bytes_ is not None:
            return InlineImage(self.bytes_)
        where = self.s3_object
        if where is None or where.bucket is None or where.name is None:
            raise InvalidS3ObjectException
        return S3Image(account_id, where.bucket, where.name, where.version)


class CreateCollectionRequest(Request):
    collection_id: CollectionId
    tags: Tags | None = None


class DescribeCollectionRequest(Request):
    collection_id: CollectionId


class ListCollectionsRequest(Request):
    next_token: PaginationToken | None = None
    max_results: PageSize | None = None


class DeleteCollectionRequest(Request):
    collection_id: CollectionId


class IndexFacesRequest(Request):
    collection_id: CollectionId
    image: Image
    external_image_id: ExternalImageId | None = None
    detection_attributes: Attributes | None = None
    max_faces: Annotated[int, Field(ge=1)] | None = None
    quality_filter: QualityLevel = QualityLevel.AUTO


class ListFacesRequest(Request):
    collection_id: CollectionId
    next_token: PaginationToken | None = None
    max_results: PageSize | None = None
    user_id: UserId | None = None
    face_ids: FaceIds | None = None


class DeleteFacesRequest(Request):
    collection_id: CollectionId
    face_ids: FaceIds


class SearchFacesRequest(Request):
    collection_id: CollectionId
    face_id: FaceId
    max_faces: MaxFaces = MAX_RESULTS
    face_match_threshold: Percent = 80.0


class SearchFacesByImageRequest(Request):
    collection_id: CollectionId
    image: Image
    max_faces: MaxFaces = MAX_RESULTS
    face_match_threshold: Percent = 80.0
    quality_filter: QualityLevel = QualityLevel.NONE


class DetectFacesRequest(Request):
    image: Image
    attributes: Attributes | None = None


class CompareFacesRequest(Request):
    source_image: Image
    target_image: Image
    similarity_threshold: Percent = 80.0
    quality_filter: QualityLevel = QualityLevel.NONE


UserFaceIds: TypeAlias = Annotated[list[FaceId], Field(min_length=1, max_length=100)]
MaxUsers: TypeAlias = Annotated[int, Field(ge=1, le=MAX_USERS)]
ClientRequestToken: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=64), pattern("^[a-zA-Z0-9-_]+$", r"[a-zA-Z0-9\-_]+")
]
ResourceArn: TypeAlias = Annotated[str, Field(min_length=20, max_length=2048)]


class CreateUserRequest(Request):
    collection_id: CollectionId
    user_id: UserId
    client_request_token: ClientRequestToken | None = None


class DeleteUserRequest(Request):
    collection_id: CollectionId
    user_id: UserId
    client_request_token: ClientRequestToken | None = None


class ListUsersRequest(Request):
    collection_id: CollectionId
    max_results: MaxUsers = MAX_USERS
    next_token: PaginationToken | None = None


class AssociateFacesRequest(Request):
    collection_id: CollectionId
    user_id: UserId
    face_ids: UserFaceIds
    user_match_threshold: Percent = 75.0
    client_request_token: ClientRequestToken | None = None


class DisassociateFacesRequest(Request):
    collection_id: CollectionId
    user_id: UserId
    client_request_token: ClientRequestToken | None = None
    face_ids: UserFaceIds


class SearchUsersRequest(Request):
    collection_id: CollectionId
    user_id: UserId | None = None
    face_id: FaceId | None = None
    user_match_threshold: Percent = 80.0
    max_users: MaxUsers = MAX_USERS

    @model_validator(mode="after")
    def _one_probe(self) -> "SearchUsersRequest":
        if (self.user_id is None) == (self.face_id is None):
            raise PydanticCustomError("invalid_parameters", "either a UserId or a FaceId")
        return self


class SearchUsersByImageRequest(Request):
    collection_id: CollectionId
    image: Image
    user_match_threshold: Percent = 80.0
    max_users: MaxUsers = MAX_USERS
    quality_filter: QualityLevel = QualityLevel.NONE


class TagResourceRequest(Request):
    resource_arn: ResourceArn
    tags: Tags


class UntagResourceRequest(Request):
    resource_arn: ResourceArn
    tag_keys: Annotated[list[TagKey], Field(max_length=200)]


class ListTagsForResourceRequest(Request):
    resource_arn: ResourceArn
