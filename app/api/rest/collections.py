"""`/api/v1/collections`: collections over REST, with Rekognition's field names in the answers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.api import body, paging
from app.api.access import Admin, Reader, ResourcesNow
from app.api.aws import render, shapes

router = APIRouter(prefix="/api/v1/collections", tags=["collections"])


class NewCollection(body.Body):
    collection_id: shapes.CollectionId


@router.post(
    "",
    status_code=201,
    operation_id="CreateCollection",
    openapi_extra=body.openapi(NewCollection, example={"collection_id": "party"}),
)
async def create_collection(
    request: Request, resources: ResourcesNow, caller: Admin
) -> shapes.CreateCollectionResponse:
    """Create a collection, pinned to the face model that the service runs."""
    new = await body.read(request, NewCollection)
    await resources.collections.create(caller, new.collection_id)
    return shapes.CreateCollectionResponse(
        status_code=200,
        collection_arn=render.arn(resources.settings.aws_region, caller, new.collection_id),
        face_model_version=resources.pack.face_model_version,
    )


@router.get("", operation_id="ListCollections", response_model_exclude_none=True)
async def list_collections(
    resources: ResourcesNow,
    caller: Reader,
    max_results: Annotated[int, Query(ge=1, le=4096)] = 1000,
    next_token: Annotated[str | None, Query(max_length=255)] = None,
) -> shapes.ListCollectionsResponse:
    """Collections in the order of their ids."""
    listing = paging.collections_of(resources.paging_secret, caller.account_id)
    page = await resources.collections.page(caller, listing.key(next_token), max_results)
    return render.collections(page, listing)


@router.get("/{collection_id}", operation_id="DescribeCollection")
async def describe_collection(
    collection_id: shapes.CollectionId, resources: ResourcesNow, caller: Reader
) -> shapes.DescribeCollectionResponse:
    """A collection with its counts of faces and users."""
    found = await resources.collections.describe(caller, collection_id)
    return render.described(found, render.arn(resources.settings.aws_region, caller, collection_id))


@router.delete("/{collection_id}", operation_id="DeleteCollection")
async def delete_collection(
    collection_id: shapes.CollectionId, resources: ResourcesNow, caller: Admin
) -> shapes.DeleteCollectionResponse:
    """Erase a collection with everything in it."""
    await resources.collections.delete(caller, collection_id)
    return shapes.DeleteCollectionResponse(status_code=200)
