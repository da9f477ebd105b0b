"""What operators see and set: log lines, ids, traces, limits."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from app.api.access import WITHOUT_IMAGES
from app.api.aws.operations import OPERATIONS
from app.main import create_app
from app.measure.service import RunningService, running
from app.settings import Settings
from tests import photos
from tests.api.test_access import client_of
from tests.otlp_collector import Collector, collecting

KEY_ID, SECRET = "AKIATESTTESTTEST0042", "secret-of-the-operation-tests"
KEY = {"X-API-Key": f"{KEY_ID}:{SECRET}"}
AT_ONCE = 6


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as site:
        yield site


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secret-wedding")


@pytest.fixture(scope="module")
def service(collector: Collector, folder: Path) -> Iterator[RunningService]:
    with running(
        AUTH="required",
        BOOTSTRAP_ACCESS_KEY_ID=KEY_ID,
        BOOTSTRAP_SECRET_ACCESS_KEY=SECRET,
        KEY_CALLS_A_MINUTE="image=12",
        ADDRESS_CALLS_A_MINUTE="write=40",
        MAX_CONCURRENT_REQUESTS=str(AT_ONCE),
        OTLP_ENDPOINT=collector.url,
        FOLDERS_ALLOWED=str(folder),
        WORKERS="1",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def http(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60, headers=KEY) as client:
        yield client


def lines(service: RunningService, **fields: object) -> list[dict[str, Any]]:
    """Log lines that have these fields; they come a moment after the answer."""

    def found() -> list[dict[str, Any]]:
        told = [json.loads(line) for line in service.log.splitlines() if line.endswith("}")]
        return [line for line in told if all(line.get(name) == value for name, value in fields.items())]

    return eventually(found)


def eventually(found: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + 240
    while not found() and time.monotonic() < deadline:
        time.sleep(0.1)
    return found()


def test_a_request_leaves_one_line_that_tells_nothing_of_anybody(
    service: RunningService, http: httpx.Client
) -> None:
    answer = http.post(
        "/enroll",
        headers={"X-Request-ID": "trip-1"},
        data={"name": "Ada Lovelace", "member_id": "secret-member"},
        files={"image": ("secret-name.png", photos.astronaut())},
    )
    assert answer.headers["x-request-id"] == "trip-1"
    http.get("/members/secret-member", headers={"X-Request-ID": "trip-2"})
    http.get("/no-such/secret-path?secret-query=1", headers={"X-Request-ID": "trip-3"})
    (line,) = lines(service, correlation_id="trip-1")
    assert (line["event"], line["operation"], line["method"]) == ("request", "EnrollFace", "POST")
    assert line["status"] == answer.status_code
    assert line["milliseconds"] > 0
    (line,) = lines(service, correlation_id="trip-2")
    assert "{" in line["route"]
    (line,) = lines(service, correlation_id="trip-3")
    assert (line["operation"], line["route"], line["status"]) == ("unknown", "unknown", 404)
    for word in ("secret", "Lovelace", KEY_ID):
        assert word not in re.sub(r"licence: .*", "", service.log)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"X-Request-ID": "abc-1_2.3"}, "abc-1_2.3"),
        ({"X-Amzn-Trace-Id": "Root=1-67891233-abcdef0123456789"}, "Root=1-67891233-abcdef0123456789"),
        ({"X-Request-ID": "one two"}, None),
        ({"X-Request-ID": "a" * 129}, None),
        ({"X-Request-ID": '"}{"event":"forged'}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_id_of_a_request_is_the_clients_if_a_log_can_hold_it(
    http: httpx.Client, headers: dict[str, str], kept: str | None
) -> None:
    found = http.get("/live", headers=headers).headers["x-request-id"]
    assert found == kept if kept else re.fullmatch(r"[0-9a-f-]{36}", found)


def test_the_request_id_of_boto3_is_the_one_in_the_log(service: RunningService) -> None:
    client = client_of(service, KEY_ID, SECRET)
    answered = client.list_collections()["ResponseMetadata"]["RequestId"]
    with pytest.raises(ClientError) as refused:
        client.describe_collection(CollectionId="none")
    (line,) = lines(service, correlation_id=answered)
    assert (line["operation"], line["code"]) == ("ListCollections", "")
    (line,) = lines(service, correlation_id=refused.value.response["ResponseMetadata"]["RequestId"])
    assert (line["operation"], line["code"]) == ("DescribeCollection", "ResourceNotFoundException")


def test_jobs_bear_the_id_of_the_request_that_asked_for_them(
    service: RunningService, http: httpx.Client, folder: Path
) -> None:
    (folder / "one.png").write_bytes(photos.astronaut())
    assert http.post("/api/v1/albums", json={"id": "party", "source": str(folder)}).status_code == 201
    http.post("/api/v1/albums/party/process", headers={"X-Request-ID": "trip-9"}).raise_for_status()
    (line,) = lines(service, correlation_id="trip-9", event="job", kind="listing")
    assert line["attempt"] == 1


def test_traces_show_the_stages_of_a_request_within_the_callers_trace(
    http: httpx.Client, collector: Collector
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    http.post(
        "/api/v1/detect-faces",
        headers={"traceparent": f"00-{trace}-{parent}-01", "X-Request-ID": "trip-7"},
        files={"file": ("a.png", photos.astronaut())},
    ).raise_for_status()
    mine = eventually(
        lambda: [span for span in collector.spans if span.trace_id == trace and "DetectFaces" in span.name]
    )
    (request,) = mine
    assert (request.name, request.parent_id) == ("POST DetectFaces", parent)
    assert "trip-7" in request.attributes["correlation_id"]
    parts = {span.name for span in collector.spans if span.trace_id == trace and span != request}
    assert {"decode", "detect"} <= parts
    assert eventually(lambda: [span for span in collector.spans if span.name == "job listing"])


def test_a_full_house_is_told_so_in_the_words_of_each_door_and_probes_are_answered(
    service: RunningService,
) -> None:
    port = int(service.url.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"POST /enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
            slow.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n")
            slow.sendall(f"X-API-Key: {KEY_ID}:{SECRET}\r\n\r\n".encode())
        eventually(lambda: [one for one in [_gauge(service, "requests_in_progress")] if one == AT_ONCE])
        rest = httpx.get(f"{service.url}/api/v1/collections", headers=KEY)
        assert (rest.status_code, rest.json()["code"]) == (429, "ThrottlingException")
        assert int(rest.headers["retry-after"]) >= 1
        target = {"X-Amz-Target": "RekognitionService.ListCollections"}
        aws = httpx.post(service.url, headers=target, content=b"{}")
        assert (aws.status_code, aws.json()["__type"]) == (400, "ThrottlingException")
        assert int(aws.headers["retry-after"]) >= 1
        counted = 'face_operations_total{code="ThrottlingException",door="aws",operation="unknown"}'
        assert _gauge(service, re.escape(counted)) >= 1
        for probe in ("/live", "/health", "/ready", "/metrics"):
            assert httpx.get(service.url + probe).status_code == 200
    assert eventually(lambda: [one for one in [_gauge(service, "requests_in_progress")] if one == 0]) == [0]


def _gauge(service: RunningService, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{service.url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_key_that_calls_too_often_waits_and_other_classes_go_on(
    service: RunningService, http: httpx.Client
) -> None:
    client = client_of(service, KEY_ID, SECRET)
    codes = []
    for _ in range(13):
        try:
            client.detect_faces(Image={"Bytes": photos.astronaut()})
            codes.append("")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert codes[-1] == "ThrottlingException"
    assert set(codes) <= {"", "ThrottlingException"}
    refused = http.post("/identify", files={"image": ("a.png", photos.astronaut())})
    assert (refused.status_code, refused.json()["code"]) == (429, "ThrottlingException")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert http.get("/api/v1/collections").status_code == 200
    assert re.search(r'^requests_refused_total{cause="key"} [1-9]', http.get("/metrics").text, re.MULTILINE)


def test_an_address_that_calls_too_often_is_refused_before_its_key_is_looked_at(
    service: RunningService,
) -> None:
    with httpx.Client(base_url=service.url) as stranger:
        answers = [stranger.delete("/members/nobody").status_code for _ in range(41)]
    assert answers[0] == 401
    assert answers[-1] == 429


def test_every_call_is_of_the_class_that_it_costs() -> None:
    classes = {name: operation.call_class for name, operation in OPERATIONS.items()}
    assert {name for name, found in classes.items() if found == "image"} == {
        "CompareFaces", "DetectFaces", "IndexFaces", "SearchFacesByImage", "SearchUsersByImage",
    }  # fmt: skip
    assert classes["SearchFaces"] == classes["ListFaces"] == "read"
    assert classes["DeleteFaces"] == classes["CreateCollection"] == "write"
    posted = {
        operation["operationId"]: "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
        for path in create_app(Settings(_env_file=None)).openapi()["paths"].values()  # type: ignore[call-arg]  # pydantic-settings' own
        for method, operation in path.items()
        if method == "post"
    }
    without = {name for name, has_image in posted.items() if not has_image} | {"UploadPhotos"}
    assert without - {"JoinAlbum"} == WITHOUT_IMAGES
