"""Every Prometheus metric of the service, declared once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.tracing import NoTraces, Tracer

STAGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIMILARITIES = (1, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 98, 99, 99.5, 99.9)


class Metrics:
    """The metrics of one process, in a registry of their own. No label holds what a client chose."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.registry = CollectorRegistry()
        self._tracer = tracer or NoTraces()
        self._requests()
        self._engine()
        self._searches()
        self._background()
        self._database()
        self._savings()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of a request or job: fetch, decode, detect, measure, embed, search, store."""
        with self._tracer.span(name):
            began = time.perf_counter()
            try:
                yield
            finally:
                self.stage_seconds.labels(name).observe(time.perf_counter() - began)

    def searched(self, best: float | None) -> None:
        """Count a search by the Similarity of its best match, 0..100; None when it has none."""
        self.searches.labels("none" if best is None else "match").inc()
        if best is not None:
            self.match_similarity.observe(best)

    def _requests(self) -> None:
        self.operations = self._counter(
            "face_operations_total",
            "Operations answered, by door (aws, rest), operation and error code",
            "door",
            "operation",
            "code",
        )
        self.operation_seconds = self._histogram(
            "face_operation_seconds", "From a request's first byte to its answer", STAGES_S, "operation"
        )
        self.requests_in_progress = self._gauge("requests_in_progress", "Requests that are being answered")
        self.requests_refused = self._counter(
            "requests_refused_total",
            "Requests refused by a limit: concurrency, key or address",
            "cause",
        )
        for cause in ("concurrency", "key", "address"):
            self.requests_refused.labels(cause)

    def _engine(self) -> None:
        self.stage_seconds = self._histogram(
            "face_stage_seconds", "Time spent in a stage of a request or job", STAGES_S, "stage"
        )
        self.images_analysed = self._counter("images_analysed_total", "Images searched for faces")
        self.images_without_face = self._counter(
            "images_without_face_total", "Images in which no face was found"
        )
        self.faces_detected = self._counter("faces_detected_total", "Faces found in images")
        self.faces_refused = self._counter(
            "faces_refused_total", "Faces that a quality level refused, by reason", "reason"
        )
        self.second_tries = self._counter(
            "second_tries_total", "Images whose faces a second try found, by its kind", "kind"
        )
        self.faces_indexed = self._counter("faces_indexed_total", "Faces stored in collections")
        self.inference_waiting = self._gauge("inference_waiting", "Images waiting for an inference thread")
        self.inference_threads = self._gauge("inference_threads", "Threads that work on images")
        self.inference_busy = self._gauge("inference_busy", "Threads that work on an image now")
        self.inference_refused = self._counter(
            "inference_refused_total",
            "Images refused because the queue was full or the deadline passed",
            "cause",
        )
        for cause in ("queue_full", "deadline"):
            self.inference_refused.labels(cause)

    def _searches(self) -> None:
        self.searches = self._counter(
            "searches_total", "Searches among faces, users and members, by result: match or none", "result"
        )
        for result in ("match", "none"):
            self.searches.labels(result)
        self.match_similarity = self._histogram(
            "match_similarity", "Similarity of the best match of a search that has one", SIMILARITIES
        )
        self.recall_wanted = self._counter(
            "search_recall_wanted_total", "Matches that exact searches found, of sampled searches"
        )
        self.recall_found = self._counter(
            "search_recall_found_total", "Matches of sampled searches that the search had found, too"
        )

    def _background(self) -> None:
        self.photos_finished = self._counter(
            "album_photos_finished_total",
            "Photos that a worker brought to an end: done, unchanged, failed, skipped, or to be tried again",
            "outcome",
        )
        for outcome in ("done", "unchanged", "failed", "skipped", "retried"):
            self.photos_finished.labels(outcome)
        self.jobs_in_hand = self._gauge("worker_jobs_in_hand", "Jobs that this worker works on", "lane")
        self.jobs_ended = self._counter(
            "worker_jobs_ended_total", "Jobs that this worker ended or gave back, by kind", "kind"
        )
        self.intake_messages = self._counter(
            "intake_messages_total",
            "Messages about new and removed photos: taken, ignored, or poison",
            "result",
        )
        for result in ("taken", "ignored", "poison"):
            self.intake_messages.labels(result)

    def _database(self) -> None:
        self.database_up = self._gauge("database_up", "Whether the database answered when last asked")
        self.database_connections = self._gauge(
            "database_connections", "Connections of this process's pool, by state: in_use, idle", "state"
        )
        self.database_connections_most = self._gauge(
            "database_connections_most", "How many connections the pool may have"
        )
        self.queue_waiting = self._gauge(
            "queue_jobs_waiting", "Jobs that are due and nobody has in hand, of all replicas", "lane"
        )
        self.queue_in_hand = self._gauge("queue_jobs_in_hand", "Jobs in hand, of all workers", "lane")
        self.queue_oldest_seconds = self._gauge(
            "queue_oldest_seconds", "For how long the oldest waiting job has been due", "lane"
        )
        self.album_photos = self._gauge("album_photos", "Photos of all albums, by state", "state")
        self.search_memory_bytes = self._gauge(
            "search_memory_bytes", "What this process holds in memory of the collections that it searches"
        )
        self.vector_indexes = self._gauge(
            "vector_indexes",
            "Indexes of large collections' vectors: valid, or unfinished, being built or left half built",
            "state",
        )
        self.collections_of_other_models = self._gauge(
            "collections_of_other_models", "Collections whose faces are of a model that does not run here"
        )
        self.disk_free_bytes = self._gauge("data_disk_free_bytes", "Free space where DATA_DIR lies")
        self.disk_bytes = self._gauge("data_disk_bytes", "Size of the disk where DATA_DIR lies")
        self.info = self._gauge(
            "face_service_info", "1, with what runs", "version", "model_pack", "face_model_version"
        )

    def _savings(self) -> None:
        self.rekognition_calls = self._counter(
            "rekognition_calls_total",
            "Calls of all doors and workers that Rekognition would have charged, by its operation",
            "operation",
        )
        self.rekognition_dollars_saved = self._counter(
            "rekognition_dollars_saved_total",
            "What these calls would have cost at Rekognition, in dollars",
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
