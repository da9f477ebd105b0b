"""`/api/v1`: faces over REST, with Rekognition's field names in the answers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator, Field

from app.api import body, paging
from app.api.access import Reader, ResourcesNow, Writer
from app.api.aws import render, shapes
from app.api.aws.attributes import Attributes, detail_for
from app.api.images import UPLOADS, Base64, S3Bucket, S3Key, SupabasePath, Url, WithImage, image_of
from app.domain import QualityLevel
from app.errors import InvalidParameterException
from app.service.ids import EXTERNAL_IMAGE_ID_MAX, public_id

router = APIRouter(prefix="/api/v1", tags=["faces"])

Percent = Annotated[float, Field(ge=0, le=100)]
MaxMatches = Annotated[int, Field(ge=1, le=4096)]
# Forms send one text: `EYES_OPEN,GENDER`.
AttributeList = Annotated[
    Attributes, BeforeValidator(lambda sent: sent.split(",") if isinstance(sent, str) else sent)
]
_PHOTO = "https://example.org/photo.jpg"
_IMAGE = {"image_url": _PHOTO}
PAIR_UPLOADS = frozenset({"source", "target"})


class DetectFaces(WithImage):
    attributes: AttributeList | None = None
    max_faces: Annotated[int, Field(ge=1)] | None = None


class CompareFaces(body.Body):
    source: bytes | None = Field(default=None, repr=False)
    source_image_base64: Base64 | None = Field(default=None, repr=False)
    source_image_url: Url | None = None
    source_supabase_path: SupabasePath | None = None
    source_s3_bucket: S3Bucket | None = None
    source_s3_key: S3Key | None = None
    target: bytes | None = Field(default=None, repr=False)
    target_image_base64: Base64 | None = Field(default=None, repr=False)
    target_image_url: Url | None = None
    target_supabase_path: SupabasePath | None = None
    target_s3_bucket: S3Bucket | None = None
    target_s3_key: S3Key | None = None
    similarity_threshold: Percent = 80.0
    quality_filter: QualityLevel = QualityLevel.NONE


class IndexFaces(WithImage):
    external_image_id: str | None = None
    max_faces: Annotated[int, Field(ge=1)] | None = None
    quality_filter: QualityLevel = QualityLevel.AUTO
    detection_attributes: AttributeList | None = None


class SearchFaces(WithImage):
    face_id: UUID | None = None
    max_faces: MaxMatches = 100
    similarity_threshold: Percent = 80.0
    quality_filter: QualityLevel = QualityLevel.NONE


class DeleteFaces(body.Body):
    face_ids: Annotated[list[UUID], Field(min_length=1, max_length=4096)]


@router.post(
    "/detect-faces",
    operation_id="DetectFaces",
    openapi_extra=body.openapi(DetectFaces, UPLOADS, example={**_IMAGE, "attributes": ["ALL"]}),
    response_model_exclude_none=True,
)
async def detect_faces(
    request: Request, resources: ResourcesNow, caller: Reader
) -> shapes.DetectFacesResponse:
    """The faces of an image, largest first."""
    asked = await body.read(request, DetectFaces, UPLOADS)
    most = min(
        asked.max_faces or resources.settings.max_faces_per_image, resources.settings.max_faces_per_image
    )
    image = asked.required_image(resources.settings, caller)
    found = await resources.recognition.detect(caller, image, most, detail_for(asked.attributes))
    return shapes.DetectFacesResponse(face_details=[render.detail(face, asked.attributes) for face in found])


@router.post(
    "/compare-faces",
    operation_id="CompareTwoImages",
    openapi_extra=body.openapi(
        CompareFaces,
        PAIR_UPLOADS,
        example={"source_image_url": _PHOTO, "target_image_url": _PHOTO, "similarity_threshold": 80},
    ),
)
async def compare_faces(
    request: Request, resources: ResourcesNow, caller: Reader
) -> shapes.CompareFacesResponse:
    """The largest face of the source image against every face of the target image."""
    asked = await body.read(request, CompareFaces, PAIR_UPLOADS)
    settings = resources.settings
    found = await resources.recognition.compare(
        caller,
        image_of(asked, "source", settings, caller),
        image_of(asked, "target", settings, caller),
        threshold=resources.recognition.threshold(asked.similarity_threshold),
        quality=asked.quality_filter,
        most_faces=settings.max_faces_per_image,
    )
    return render.compared(found)


@router.post(
    "/collections/{collection_id}/index-faces",
    operation_id="IndexFaces",
    openapi_extra=body.openapi(IndexFaces, UPLOADS, example={**_IMAGE, "external_image_id": "photo.jpg"}),
    response_model_exclude_none=True,
)
async def index_faces(
    request: Request, collection_id: shapes.CollectionId, resources: ResourcesNow, caller: Writer
) -> shapes.IndexFacesResponse:
    """Store the faces of an image; the same image under the same external_image_id only once."""
    asked = await body.read(request, IndexFaces, UPLOADS)
    external = asked.external_image_id
    found = await resources.recognition.index(
        caller,
        collection_id,
        asked.required_image(resources.settings, caller),
        external_image_id=None
        if external is None
        else public_id(external, "external_image_id", EXTERNAL_IMAGE_ID_MAX),
        max_faces=asked.max_faces,
        quality=asked.quality_filter,
        most_faces=resources.settings.max_faces_per_image,
        detail=detail_for(asked.detection_attributes),
    )
    return render.indexed(
        found, resources.pack.face_model_version, asked.detection_attributes, as_written=True
    )


@router.post(
    "/collections/{collection_id}/search-faces",
    operation_id="SearchFaces",
    openapi_extra=body.openapi(SearchFaces, UPLOADS, example={**_IMAGE, "max_faces": 10}),
    response_model_exclude_none=True,
)
async def search_faces(
    request: Request, collection_id: shapes.CollectionId, resources: ResourcesNow, caller: Reader
) -> shapes.SearchFacesByImageResponse | shapes.SearchFacesResponse:
    """Faces like the largest face of an image, or like the stored face `face_id`."""
    asked = await body.read(request, SearchFaces, UPLOADS)
    image = asked.given_image(resources.settings, caller)
    if (image is None) == (asked.face_id is None):
        raise InvalidParameterException("Send either an image or a face_id", reason="InvalidImageFields")
    recognition, model = resources.recognition, resources.pack.face_model_version
    threshold = recognition.threshold(asked.similarity_threshold)
    if asked.face_id is not None:
        matches = await recognition.search(caller, collection_id, asked.face_id, threshold, asked.max_faces)
        return shapes.SearchFacesResponse(
            searched_face_id=str(asked.face_id),
            face_matches=render.matches(matches, model, as_written=True),
            face_model_version=model,
        )
    assert image is not None
    found = await recognition.search_by_image(
        caller,
        collection_id,
        image,
        threshold=threshold,
        limit=asked.max_faces,
        quality=asked.quality_filter,
    )
    return render.searched(found, model, as_written=True)


@router.get("/collections/{collection_id}/faces", operation_id="ListFaces", response_model_exclude_none=True)
async def list_faces(
    collection_id: shapes.CollectionId,
    resources: ResourcesNow,
    caller: Reader,
    max_results: Annotated[int, Query(ge=1, le=4096)] = 1000,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> shapes.ListFacesResponse:
    """Faces of a collection in the order of their ids."""
    listing = paging.faces_in(resources.paging_secret, caller.account_id, collection_id)
    page, model = await resources.recognition.page(
        caller,
        collection_id,
        after=listing.face_id(next_token),
        limit=max_results,
        face_ids=None,
        user_id=None,
    )
    return render.faces(page, model, listing, as_written=True)


@router.delete(
    "/collections/{collection_id}/faces",
    operation_id="DeleteFaces",
    openapi_extra=body.openapi(DeleteFaces, example={"face_ids": ["143c4e1e-09c3-43ff-a946-7554a2723e46"]}),
    response_model_exclude_none=True,
)
async def delete_faces(
    request: Request, collection_id: shapes.CollectionId, resources: ResourcesNow, caller: Writer
) -> shapes.DeleteFacesResponse:
    """Erase faces; one that belongs to a user is kept and named."""
    asked = await body.read(request, DeleteFaces)
    return render.deleted(*await resources.recognition.delete(caller, collection_id, asked.face_ids))
