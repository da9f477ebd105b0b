"""`/index`: jobs that enroll or refresh members from storage, or embed them anew after a model change."""

from uuid import UUID

from fastapi import APIRouter, Request

from app.api import body
from app.api import member_forms as forms
from app.api.access import Reader, ResourcesNow, Writer
from app.api.images import supabase_image
from app.api.members import InCollection
from app.domain import Caller, InlineImage, S3Image, SupabaseImage, UrlImage
from app.errors import InvalidImageUrlException, InvalidParameterException
from app.resources import Resources
from app.service.members import DEFAULT_COLLECTION
from app.settings import Settings

router = APIRouter(tags=["members"])


@router.post(
    "/index",
    operation_id="RebuildIndex",
    status_code=202,
    openapi_extra=body.openapi(forms.Index, example={"prefix": "membros/", "member_id_from": "filename"}),
)
async def rebuild_index(
    request: Request, resources: ResourcesNow, caller: Writer, collection: InCollection = DEFAULT_COLLECTION
) -> forms.IndexJob:
    """Enroll or refresh members from storage, or embed every face anew; `GET /index/{job_id}` tells how far.

    Searches use the old vectors until all new ones are there, and all of them change at once.
    """
    asked = await body.read(request, forms.Index)
    settings = resources.settings
    if asked.prefix is not None and asked.photos is not None:
        raise InvalidParameterException("Send either a prefix or photos", reason="InvalidImageFields")
    if asked.photos is not None:
        photos = [(photo.member_id, _place(photo, settings, caller)) for photo in asked.photos]
        job_id = await resources.index_jobs.of_photos(caller, collection, photos)
    elif asked.prefix is not None:
        prefix = _prefix(asked.prefix, settings, caller)
        job_id = await resources.index_jobs.of_prefix(caller, collection, prefix, asked.member_id_from)
    else:
        job_id = await resources.index_jobs.of_all_faces(
            caller, collection, allow_missing=asked.allow_missing
        )
    return await _job(resources, caller, job_id)


@router.get("/index/{job_id}", operation_id="GetIndexJob")
async def get_index_job(job_id: UUID, resources: ResourcesNow, caller: Reader) -> forms.IndexJob:
    """How far a job is. Finished jobs are kept for a week."""
    return await _job(resources, caller, job_id)


def _place(
    photo: forms.ListedPhoto, settings: Settings, caller: Caller
) -> S3Image | SupabaseImage | UrlImage:
    found = photo.sources(settings, caller)
    if len(found) != 1 or isinstance(found[0], InlineImage):
        raise InvalidParameterException(
            "Each photo is named by one of image_url, supabase_path, or s3_bucket with s3_key",
            reason="InvalidImageFields",
        )
    place = found[0]
    assert isinstance(place, S3Image | SupabaseImage | UrlImage)
    if isinstance(place, UrlImage) and not place.url.lower().startswith(("http://", "https://")):
        raise InvalidImageUrlException("The image URL must be http or https", reason="ImageUrlInvalid")
    return place


def _prefix(text: str, settings: Settings, caller: Caller) -> S3Image | SupabaseImage:
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
        return S3Image(caller.account_id, bucket, key)
    return supabase_image(text, settings, caller)


async def _job(resources: Resources, caller: Caller, job_id: UUID) -> forms.IndexJob:
    found, failures = await resources.index_jobs.progress(caller, job_id)
    over = found.finished_at is not None
    worked = found.done + found.failed
    return forms.IndexJob(
        job_id=found.job_id,
        status=found.state,
        finished=over,
        percent=100.0 if over else round(100 * worked / found.total, 1) if found.total else 0.0,
        total=found.total,
        done=found.done,
        failed=found.failed,
        reason=found.reason,
        collection_id=found.collection_id,
        created_at=found.created_at,
        finished_at=found.finished_at,
        failures=[
            forms.IndexFailure(
                member_id=failure.member_id,
                reason=failure.reason,
                photo=failure.item,
                face_id=failure.face_id,
            )
            for failure in failures
        ],
    )
