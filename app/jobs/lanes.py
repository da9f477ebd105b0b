"""Which lanes a worker serves, and what does the jobs of each."""

from app.jobs.worker import Lane
from app.resources import Resources
from app.service.album_photos import PHOTO_KIND
from app.service.upkeep import PERIODIC
from app.service.vector_indexes import KIND as VECTOR_INDEX
from app.store import queue
from app.store.index_jobs import KIND as REBUILD


def lanes_of(resources: Resources) -> tuple[Lane, ...]:
    """The lanes for the model that runs, upkeep, and indexes of vectors.

    More photos are in hand than there are threads, so that the next ones are fetched while these are
    decoded and searched for faces.
    """
    model, work = resources.pack.face_model_version, resources.work
    return (
        Lane(queue.photos_lane(model), 2 * resources.pool.threads + 2, {PHOTO_KIND: work.photos.work}),
        Lane(
            queue.tasks_lane(model),
            1,
            {"listing": work.listings.work, REBUILD: work.rebuilds.work, "rematch": work.upkeep.work},
        ),
        Lane(queue.UPKEEP, 1, dict.fromkeys((*PERIODIC, "erase"), work.upkeep.work)),
        Lane(queue.INDEXES, 1, {VECTOR_INDEX: work.indexes.work}),
    )
