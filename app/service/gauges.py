"""Metrics of what all replicas share: asked of the database when somebody looks, and seldom."""

import asyncio
import shutil
import time
from pathlib import Path

from app import __version__
from app.engine.packs import Pack
from app.errors import ServiceUnavailableError
from app.metrics import Metrics
from app.store import gauges as store
from app.store import vector_indexes
from app.store.database import Database, StatementFailedError
from app.store.vector_memory import VectorMemory

_LANES = ("photos", "tasks", "upkeep", "indexes")
_FRESH_S = 5.0
_PATIENCE_S = 3.0


class Gauges:
    """Brings the gauges up to date.

    Args:
        data_dir: whose disk is watched.
    """

    def __init__(
        self, database: Database, memory: VectorMemory, metrics: Metrics, pack: Pack, data_dir: Path
    ) -> None:
        self._database = database
        self._memory = memory
        self._metrics = metrics
        self._model = pack.face_model_version
        self._data_dir = data_dir
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        metrics.info.labels(__version__, pack.name, self._model).set(1)

    async def refresh(self) -> None:
        """Look again, unless that was done a moment ago. A lost database shows as `database_up` 0."""
        usage = self._database.pool_usage()
        self._metrics.database_connections.labels("in_use").set(usage.in_use)
        self._metrics.database_connections.labels("idle").set(usage.idle)
        self._metrics.database_connections_most.set(usage.most)
        self._metrics.search_memory_bytes.set(self._memory.nbytes)
        async with self._asking:
            if time.monotonic() - self._asked_at < _FRESH_S:
                return
            self._asked_at = time.monotonic()
            self._look_at_disk()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._ask()
            except (TimeoutError, ServiceUnavailableError, StatementFailedError):
                self._metrics.database_up.set(0)

    async def _ask(self) -> None:
        async with self._database.session() as session:
            lanes = {lane.lane: lane for lane in await store.lanes(session)}
            photos = await store.photos_by_state(session)
            indexes = await vector_indexes.present(session)
            others = await store.collections_of_other_models(session, self._model)
        self._metrics.database_up.set(1)
        for name in _LANES:
            lane = lanes.get(name, store.LaneState(name, 0, 0, 0.0))
            self._metrics.queue_waiting.labels(name).set(lane.waiting)
            self._metrics.queue_in_hand.labels(name).set(lane.in_hand)
            self._metrics.queue_oldest_seconds.labels(name).set(lane.oldest_s)
        for state, count in photos.items():
            self._metrics.album_photos.labels(state).set(count)
        valid = sum(index.valid for index in indexes)
        self._metrics.vector_indexes.labels("valid").set(valid)
        self._metrics.vector_indexes.labels("unfinished").set(len(indexes) - valid)
        self._metrics.collections_of_other_models.set(others)

    def _look_at_disk(self) -> None:
        folder = self._data_dir
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        usage = shutil.disk_usage(folder)
        self._metrics.disk_free_bytes.set(usage.free)
        self._metrics.disk_bytes.set(usage.total)
