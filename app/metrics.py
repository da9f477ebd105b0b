"""Every Prometheus metric of the service, declared once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STAGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.operations = Counter(
            "face_operations_total",
            "Rekognition operations answered, by operation and error code",
            ["operation", "code"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "face_stage_seconds",
            "Time spent in a stage of a request",
            ["stage"],
            buckets=STAGES_S,
            registry=self.registry,
        )
        self.faces_detected = Counter("faces_detected_total", "Faces found in images", registry=self.registry)
        self.images_without_face = Counter(
            "images_without_face_total", "Images in which no face was found", registry=self.registry
        )
        self.second_tries = Counter(
            "second_tries_total",
            "Images whose faces a second try found, by its kind",
            ["kind"],
            registry=self.registry,
        )
        self.faces_indexed = Counter(
            "faces_indexed_total", "Faces stored in collections", registry=self.registry
        )
        self.photos_finished = Counter(
            "album_photos_finished_total",
            "Photos that a worker brought to an end: done, unchanged, failed, skipped, or to be tried again",
            ["outcome"],
            registry=self.registry,
        )
        self.jobs_in_hand = Gauge(
            "worker_jobs_in_hand", "Jobs that this worker works on", ["lane"], registry=self.registry
        )
        self.intake_messages = Counter(
            "intake_messages_total",
            "Messages about new and removed photos: taken, ignored, or poison",
            ["result"],
            registry=self.registry,
        )
        self.inference_waiting = Gauge(
            "inference_waiting", "Images waiting for an inference thread", registry=self.registry
        )
        self.inference_refused = Counter(
            "inference_refused_total",
            "Images refused because the queue was full or the deadline passed",
            ["cause"],
            registry=self.registry,
        )
        self.rekognition_calls = Counter(
            "rekognition_calls_total",
            "Calls of all doors and workers that Rekognition would have charged, by its operation",
            ["operation"],
            registry=self.registry,
        )
        self.rekognition_dollars_saved = Counter(
            "rekognition_dollars_saved_total",
            "What these calls would have cost at Rekognition, in dollars",
            registry=self.registry,
        )
