"""One short handler per Rekognition operation, and the table of those that are served."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from app.api import limits, paging
from app.api.aws import render, requests, shapes
from app.domain import Caller, ImageInput, PublicId
from app.errors import NoFaceFound
from app.resources import Resources

RequestT = TypeVar("RequestT", bound=requests.Request)
Handler = Callable[["Call", Any], Awaitable[shapes.Shape]]


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler works with."""

    resources: Resources
    caller: Caller

    @property
    def model(self) -> str:
        return self.resources.pack.face_model_version

    def image(self, image: requests.Image) -> ImageInput:
        return limits.rekognition(image.source(), self.resources.settings)

    def arn(self, collection_id: str) -> str:
        return render.arn(self.resources.settings.aws_region, self.caller, collection_id)


@dataclass(frozen=True, slots=True)
class Operation:
    request: type[requests.Request]
    handle: Handler


OPERATIONS: dict[str, Operation] = {}


def _operation(
    request: type[RequestT],
) -> Callable[
    [Callable[[Call, RequestT], Awaitable[shapes.Shape]]],
    Callable[[Call, RequestT], Awaitable[shapes.Shape]],
]:
    """Enter a handler in the table, under the name of its request shape."""

    def enter(
        handle: Callable[[Call, RequestT], Awaitable[shapes.Shape]],
    ) -> Callable[[Call, RequestT], Awaitable[shapes.Shape]]:
        OPERATIONS[request.__name__.removesuffix("Request")] = Operation(request, handle)
        return handle

    return enter


@_operation(requests.CreateCollectionRequest)
async def create_collection(call: Call, request: requests.CreateCollectionRequest) -> shapes.Shape:
    await call.resources.collections.create(call.caller, request.collection_id, request.tags)
    return shapes.CreateCollectionResponse(
        status_code=200, collection_arn=call.arn(request.collection_id), face_model_version=call.model
    )


@_operation(requests.DescribeCollectionRequest)
async def describe_collection(call: Call, request: requests.DescribeCollectionRequest) -> shapes.Shape:
    found = await call.resources.collections.describe(call.caller, request.collection_id)
    return render.described(found, call.arn(request.collection_id))


@_operation(requests.ListCollectionsRequest)
async def list_collections(call: Call, request: requests.ListCollectionsRequest) -> shapes.Shape:
    after = paging.decode("collections", request.next_token)
    page = await call.resources.collections.page(
        call.caller, after, request.max_results or requests.MAX_RESULTS
    )
    return render.collections(page)


@_operation(requests.DeleteCollectionRequest)
async def delete_collection(call: Call, request: requests.DeleteCollectionRequest) -> shapes.Shape:
    await call.resources.collections.delete(call.caller, request.collection_id)
    return shapes.DeleteCollectionResponse(status_code=200)


@_operation(requests.IndexFacesRequest)
async def index_faces(call: Call, request: requests.IndexFacesRequest) -> shapes.Shape:
    external = request.external_image_id
    found = await call.resources.recognition.index(
        call.caller,
        request.collection_id,
        call.image(request.image),
        external_image_id=PublicId(external, external) if external else None,
        max_faces=request.max_faces,
        quality=request.quality_filter,
        most_faces=limits.REKOGNITION_MAX_FACES,
    )
    return render.indexed(found, call.model)


@_operation(requests.ListFacesRequest)
async def list_faces(call: Call, request: requests.ListFacesRequest) -> shapes.Shape:
    page, model = await call.resources.recognition.page(
        call.caller,
        request.collection_id,
        after=paging.decode_face_id(f"faces of {request.collection_id}", request.next_token),
        limit=request.max_results or requests.MAX_RESULTS,
        face_ids=[UUID(face_id) for face_id in request.face_ids] if request.face_ids else None,
        user_id=request.user_id,
    )
    return render.faces(page, model, f"faces of {request.collection_id}")


@_operation(requests.DeleteFacesRequest)
async def delete_faces(call: Call, request: requests.DeleteFacesRequest) -> shapes.Shape:
    face_ids = [UUID(face_id) for face_id in request.face_ids]
    return render.deleted(
        *await call.resources.recognition.delete(call.caller, request.collection_id, face_ids)
    )


@_operation(requests.SearchFacesRequest)
async def search_faces(call: Call, request: requests.SearchFacesRequest) -> shapes.Shape:
    recognition = call.resources.recognition
    found = await recognition.search(
        call.caller,
        request.collection_id,
        UUID(request.face_id),
        recognition.threshold(request.face_match_threshold),
        request.max_faces,
    )
    return shapes.SearchFacesResponse(
        searched_face_id=request.face_id,
        face_matches=render.matches(found, call.model),
        face_model_version=call.model,
    )


@_operation(requests.SearchFacesByImageRequest)
async def search_faces_by_image(call: Call, request: requests.SearchFacesByImageRequest) -> shapes.Shape:
    recognition = call.resources.recognition
    found = await recognition.search_by_image(
        call.caller,
        request.collection_id,
        call.image(request.image),
        threshold=recognition.threshold(request.face_match_threshold),
        limit=request.max_faces,
        quality=request.quality_filter,
    )
    return render.searched(found, call.model)


@_operation(requests.DetectFacesRequest)
async def detect_faces(call: Call, request: requests.DetectFacesRequest) -> shapes.Shape:
    found = await call.resources.recognition.detect(call.image(request.image), limits.REKOGNITION_MAX_FACES)
    return shapes.DetectFacesResponse(face_details=[render.detail(face) for face in found])


@_operation(requests.CompareFacesRequest)
async def compare_faces(call: Call, request: requests.CompareFacesRequest) -> shapes.Shape:
    recognition = call.resources.recognition
    try:
        found = await recognition.compare(
            call.image(request.source_image),
            call.image(request.target_image),
            threshold=recognition.threshold(request.similarity_threshold),
            quality=request.quality_filter,
            most_faces=limits.REKOGNITION_MAX_FACES,
        )
    except NoFaceFound:
        # The other operations name the cause; applications know this one by AWS's general text.
        raise NoFaceFound("Request has invalid parameters") from None
    return render.compared(found)
