"""One short handler per Rekognition operation, and the table of those that are served."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from app.api import limits, paging
from app.api.aws import render, requests, shapes
from app.api.aws.attributes import detail_for
from app.domain import Caller, ImageInput, PublicId, Role
from app.errors import InvalidParameterException, NoFaceFound, ResourceNotFoundException
from app.resources import Resources
from app.settings import CallClass

_COLLECTION_ARN = re.compile(
    r"(?:arn:)?aws:rekognition:[a-z0-9-]+:(?P<account>\d{12}):collection/(?P<id>[a-zA-Z0-9_.\-]{1,255})"
)
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
        return limits.rekognition(image.source(self.caller.account_id), self.resources.settings)

    def named(self, arn: str) -> str:
        """The collection that an ARN names, with or without `arn:` before it; any region will do.

        Raises:
            InvalidParameterException: not the name of a collection.
            ResourceNotFoundException: the collection of another account.
        """
        found = _COLLECTION_ARN.fullmatch(arn)
        if found is None:
            raise InvalidParameterException
        if found["account"] != self.caller.account_id:
            raise ResourceNotFoundException(f"The collection id: {found['id']} does not exist")
        return found["id"]

    def arn(self, collection_id: str) -> str:
        return render.arn(self.resources.settings.aws_region, self.caller, collection_id)


@dataclass(frozen=True, slots=True)
class Operation:
    """`role` is the least that a caller must have."""

    request: type[requests.Request]
    handle: Handler
    role: Role

    @property
    def call_class(self) -> CallClass:
        """What it costs: operations take images under names that end in Image."""
        if any(name.endswith("image") for name in self.request.model_fields):
            return "image"
        return "read" if self.role <= Role.READ else "write"


OPERATIONS: dict[str, Operation] = {}


def _operation(
    request: type[RequestT], role: Role
) -> Callable[
    [Callable[[Call, RequestT], Awaitable[shapes.Shape]]],
    Callable[[Call, RequestT], Awaitable[shapes.Shape]],
]:
    """Enter a handler in the table, under the name of its request shape."""

    def enter(
        handle: Callable[[Call, RequestT], Awaitable[shapes.Shape]],
    ) -> Callable[[Call, RequestT], Awaitable[shapes.Shape]]:
        OPERATIONS[request.__name__.removesuffix("Request")] = Operation(request, handle, role)
        return handle

    return enter


@_operation(requests.CreateCollectionRequest, Role.ADMIN)
async def create_collection(call: Call, request: requests.CreateCollectionRequest) -> shapes.Shape:
    await call.resources.collections.create(call.caller, request.collection_id, request.tags)
    return shapes.CreateCollectionResponse(
        status_code=200, collection_arn=call.arn(request.collection_id), face_model_version=call.model
    )


@_operation(requests.DescribeCollectionRequest, Role.READ)
async def describe_collection(call: Call, request: requests.DescribeCollectionRequest) -> shapes.Shape:
    found = await call.resources.collections.describe(call.caller, request.collection_id)
    return render.described(found, call.arn(request.collection_id))


@_operation(requests.ListCollectionsRequest, Role.READ)
async def list_collections(call: Call, request: requests.ListCollectionsRequest) -> shapes.Shape:
    listing = paging.collections_of(call.resources.paging_secret, call.caller.account_id)
    page = await call.resources.collections.page(
        call.caller, listing.key(request.next_token), request.max_results or requests.MAX_RESULTS
    )
    return render.collections(page, listing)


@_operation(requests.DeleteCollectionRequest, Role.ADMIN)
async def delete_collection(call: Call, request: requests.DeleteCollectionRequest) -> shapes.Shape:
    await call.resources.collections.delete(call.caller, request.collection_id)
    return shapes.DeleteCollectionResponse(status_code=200)


@_operation(requests.IndexFacesRequest, Role.WRITE)
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
        detail=detail_for(request.detection_attributes),
    )
    return render.indexed(found, call.model, request.detection_attributes)


@_operation(requests.ListFacesRequest, Role.READ)
async def list_faces(call: Call, request: requests.ListFacesRequest) -> shapes.Shape:
    listing = paging.faces_in(call.resources.paging_secret, call.caller.account_id, request.collection_id)
    page, model = await call.resources.recognition.page(
        call.caller,
        request.collection_id,
        after=listing.face_id(request.next_token),
        limit=request.max_results or requests.MAX_RESULTS,
        face_ids=[UUID(face_id) for face_id in request.face_ids] if request.face_ids else None,
        user_id=request.user_id,
    )
    return render.faces(page, model, listing)


@_operation(requests.DeleteFacesRequest, Role.WRITE)
async def delete_faces(call: Call, request: requests.DeleteFacesRequest) -> shapes.Shape:
    face_ids = [UUID(face_id) for face_id in request.face_ids]
    return render.deleted(
        *await call.resources.recognition.delete(call.caller, request.collection_id, face_ids)
    )


@_operation(requests.SearchFacesRequest, Role.READ)
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


@_operation(requests.SearchFacesByImageRequest, Role.READ)
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


@_operation(requests.DetectFacesRequest, Role.READ)
async def detect_faces(call: Call, request: requests.DetectFacesRequest) -> shapes.Shape:
    found = await call.resources.recognition.detect(
        call.caller, call.image(request.image), limits.REKOGNITION_MAX_FACES, detail_for(request.attributes)
    )
    return shapes.DetectFacesResponse(
        face_details=[render.detail(face, request.attributes) for face in found]
    )


@_operation(requests.CompareFacesRequest, Role.READ)
async def compare_faces(call: Call, request: requests.CompareFacesRequest) -> shapes.Shape:
    recognition = call.resources.recognition
    try:
        found = await recognition.compare(
            call.caller,
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


@_operation(requests.CreateUserRequest, Role.WRITE)
async def create_user(call: Call, request: requests.CreateUserRequest) -> shapes.Shape:
    await call.resources.users.create(
        call.caller, request.collection_id, request.user_id, request.client_request_token
    )
    return shapes.CreateUserResponse()


@_operation(requests.DeleteUserRequest, Role.WRITE)
async def delete_user(call: Call, request: requests.DeleteUserRequest) -> shapes.Shape:
    await call.resources.users.delete(
        call.caller, request.collection_id, request.user_id, request.client_request_token
    )
    return shapes.DeleteUserResponse()


@_operation(requests.ListUsersRequest, Role.READ)
async def list_users(call: Call, request: requests.ListUsersRequest) -> shapes.Shape:
    listing = paging.users_in(call.resources.paging_secret, call.caller.account_id, request.collection_id)
    after = listing.key(request.next_token)
    page = await call.resources.users.page(call.caller, request.collection_id, after, request.max_results)
    return render.users(page, listing)


@_operation(requests.AssociateFacesRequest, Role.WRITE)
async def associate_faces(call: Call, request: requests.AssociateFacesRequest) -> shapes.Shape:
    done = await call.resources.users.associate(
        call.caller,
        request.collection_id,
        request.user_id,
        [UUID(face_id) for face_id in request.face_ids],
        call.resources.recognition.threshold(request.user_match_threshold),
        request.client_request_token,
    )
    return render.associated(done)


@_operation(requests.DisassociateFacesRequest, Role.WRITE)
async def disassociate_faces(call: Call, request: requests.DisassociateFacesRequest) -> shapes.Shape:
    done = await call.resources.users.disassociate(
        call.caller,
        request.collection_id,
        request.user_id,
        [UUID(face_id) for face_id in request.face_ids],
        request.client_request_token,
    )
    return render.disassociated(done)


@_operation(requests.SearchUsersRequest, Role.READ)
async def search_users(call: Call, request: requests.SearchUsersRequest) -> shapes.Shape:
    users = call.resources.users
    threshold = call.resources.recognition.threshold(request.user_match_threshold)
    how = (threshold, request.max_users)
    if request.face_id is not None:
        face_id = UUID(request.face_id)
        found = await users.search_by_face(call.caller, request.collection_id, face_id, *how)
    else:
        assert request.user_id is not None
        found = await users.search_by_user(call.caller, request.collection_id, request.user_id, *how)
    return render.users_like(found, call.model, request.face_id, request.user_id)


@_operation(requests.SearchUsersByImageRequest, Role.READ)
async def search_users_by_image(call: Call, request: requests.SearchUsersByImageRequest) -> shapes.Shape:
    found = await call.resources.users.search_by_image(
        call.caller,
        request.collection_id,
        call.image(request.image),
        threshold=call.resources.recognition.threshold(request.user_match_threshold),
        limit=request.max_users,
        quality=request.quality_filter,
        most_faces=limits.REKOGNITION_MAX_FACES,
    )
    return render.users_in_image(found, call.model)


@_operation(requests.TagResourceRequest, Role.ADMIN)
async def tag_resource(call: Call, request: requests.TagResourceRequest) -> shapes.Shape:
    await call.resources.collections.tag(call.caller, call.named(request.resource_arn), request.tags)
    return shapes.TagResourceResponse()


@_operation(requests.UntagResourceRequest, Role.ADMIN)
async def untag_resource(call: Call, request: requests.UntagResourceRequest) -> shapes.Shape:
    await call.resources.collections.untag(call.caller, call.named(request.resource_arn), request.tag_keys)
    return shapes.UntagResourceResponse()


@_operation(requests.ListTagsForResourceRequest, Role.READ)
async def list_tags_for_resource(call: Call, request: requests.ListTagsForResourceRequest) -> shapes.Shape:
    tags = await call.resources.collections.tags(call.caller, call.named(request.resource_arn))
    return shapes.ListTagsForResourceResponse(tags=tags)
