"""What `/ops/status` and `/metrics` say of the calls that Rekognition would have charged."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, ServiceFailedError, running, start
from app.store.embedded import EmbeddedPostgres
from tests import photos
from tests.api.signing import KEY_ID, SECRET
from tests.api.test_access import OTHER, SETTINGS, made

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

NOBODY = "00000000-0000-4000-8000-000000000000"
SELFIE = photos.astronaut()


@pytest.fixture
def fresh() -> Iterator[RunningService]:
    """A service that has answered no call."""
    with running() as service:
        yield service


def savings(url: str, **headers: str) -> Any:
    return httpx.get(f"{url}/ops/status", headers=headers).raise_for_status().json()["savings"]


def calls(url: str, **headers: str) -> dict[str, int]:
    return {line["operation"]: line["calls"] for line in savings(url, **headers)["calls"]}


def metric(url: str, name: str) -> dict[str, float]:
    """The values of a metric that are not 0, by what stands behind its name."""
    lines = [line.rsplit(" ", 1) for line in httpx.get(f"{url}/metrics").text.splitlines()]
    return {line[0].removeprefix(name): float(line[1]) for line in lines if line[0].startswith(name)}


def test_nothing_was_called(fresh: RunningService) -> None:
    assert savings(fresh.url) == {
        "prices_as_of": "2025-01",
        "currency": "USD",
        "region": "us-east-1",
        "calls": [],
        "dollars": 0,
    }
    counted = metric(fresh.url, "rekognition_calls_total")
    assert len(counted) == 9
    assert set(counted.values()) == {0}


def test_every_charged_operation_of_the_rekognition_door_counts_once(fresh: RunningService) -> None:
    client = rekognition_client(fresh.url)
    image: Any = {"Bytes": SELFIE}
    client.create_collection(CollectionId="c")
    client.create_user(CollectionId="c", UserId="anna")
    face = client.index_faces(CollectionId="c", Image=image)["FaceRecords"][0]["Face"]["FaceId"]
    client.associate_faces(CollectionId="c", UserId="anna", FaceIds=[face])
    client.search_faces(CollectionId="c", FaceId=face)
    client.search_faces_by_image(CollectionId="c", Image=image)
    client.search_users(CollectionId="c", FaceId=face)
    client.search_users(CollectionId="c", UserId="anna")
    client.search_users_by_image(CollectionId="c", Image=image)
    client.disassociate_faces(CollectionId="c", UserId="anna", FaceIds=[face])
    client.detect_faces(Image=image)
    client.detect_faces(Image={"Bytes": photos.without_face()})
    client.compare_faces(SourceImage=image, TargetImage=image)
    # Free there.
    client.list_faces(CollectionId="c")
    client.list_users(CollectionId="c")
    client.describe_collection(CollectionId="c")
    client.delete_faces(CollectionId="c", FaceIds=[face])
    client.delete_collection(CollectionId="c")
    twice = {"DetectFaces", "SearchUsers"}
    told = savings(fresh.url)
    assert [line["operation"] for line in told["calls"]] == [
        "AssociateFaces",
        "CompareFaces",
        "DetectFaces",
        "DisassociateFaces",
        "IndexFaces",
        "SearchFaces",
        "SearchFacesByImage",
        "SearchUsers",
        "SearchUsersByImage",
    ]
    for line in told["calls"]:
        number = 2 if line["operation"] in twice else 1
        assert line == {
            "operation": line["operation"],
            "calls": number,
            "price": 0.001,
            "dollars": number * 0.001,
        }
    assert told["dollars"] == 0.011
    counted = metric(fresh.url, "rekognition_calls_total")
    assert counted['{operation="DetectFaces"}'] == 2
    assert sum(counted.values()) == 11
    assert metric(fresh.url, "rekognition_dollars_saved_total")[""] == pytest.approx(0.011)


def test_rest_and_member_doors_count_as_the_operation_of_rekognition(fresh: RunningService) -> None:
    sent = base64.b64encode(SELFIE).decode()
    with httpx.Client(base_url=fresh.url, timeout=60) as http:

        def post(path: str, **fields: Any) -> Any:
            return http.post(path, json=fields).raise_for_status().json()

        post("/api/v1/collections", collection_id="c")
        indexed = post("/api/v1/collections/c/index-faces", image_base64=sent)
        face = indexed["FaceRecords"][0]["Face"]["FaceId"]
        post("/api/v1/collections/c/search-faces", image_base64=sent)
        post("/api/v1/collections/c/search-faces", face_id=face)
        post("/api/v1/detect-faces", image_base64=sent)
        post("/api/v1/compare-faces", source_image_base64=sent, target_image_base64=sent)
        rest = {
            "CompareFaces": 1, "DetectFaces": 1, "IndexFaces": 1, "SearchFaces": 1, "SearchFacesByImage": 1,
        }  # fmt: skip
        assert calls(fresh.url) == rest

        post("/enroll", member_id="eileen", image_base64=sent)
        two = [("files", ("a.png", SELFIE)), ("files", ("b.jpg", photos.group()))]
        http.post("/enroll", data={"member_id": "two"}, files=two).raise_for_status()
        post("/identify", image_base64=sent)
        http.post("/identify", data={"faces": "all"}, files={"file": photos.group()}).raise_for_status()
        post("/verify", member_id="eileen", image_base64=sent)
        post("/compare", a_image_base64=sent, b_image_base64=sent)
        assert calls(fresh.url) == rest | {"IndexFaces": 4, "SearchUsersByImage": 2, "CompareFaces": 3}


def test_calls_that_fail_are_not_counted(fresh: RunningService) -> None:
    client = rekognition_client(fresh.url)
    client.create_collection(CollectionId="c")
    faceless, broken, good = ({"Bytes": photos.without_face()}, {"Bytes": b"x" * 100}, {"Bytes": SELFIE})
    wrong: Any = client.exceptions.ClientError
    for call, fields in (
        (client.detect_faces, {"Image": broken}),
        (client.index_faces, {"CollectionId": "none", "Image": good}),
        (client.index_faces, {"CollectionId": "c", "Image": broken}),
        (client.search_faces_by_image, {"CollectionId": "c", "Image": faceless}),
        (client.search_faces, {"CollectionId": "c", "FaceId": NOBODY}),
        (client.compare_faces, {"SourceImage": faceless, "TargetImage": good}),
        (client.compare_faces, {"SourceImage": good, "TargetImage": faceless}),
        (client.associate_faces, {"CollectionId": "c", "UserId": "nobody", "FaceIds": [NOBODY]}),
        (client.disassociate_faces, {"CollectionId": "c", "UserId": "nobody", "FaceIds": [NOBODY]}),
        (client.search_users, {"CollectionId": "c", "UserId": "nobody"}),
        (client.search_users_by_image, {"CollectionId": "none", "Image": good}),
    ):
        with pytest.raises(wrong):
            call(**fields)
    with httpx.Client(base_url=fresh.url, timeout=60) as http:
        selfie, nothing = {"file": SELFIE}, {"file": photos.without_face()}
        half = [("files", ("a.png", SELFIE)), ("files", ("b.png", photos.without_face()))]
        for answer in (
            http.post("/enroll", data={"member_id": "a"}, files=nothing),
            http.post("/enroll", data={"member_id": "a"}, files=half),
            http.post("/identify", files=nothing),
            http.post("/verify", data={"member_id": "nobody"}, files=selfie),
            http.post("/compare", files={"a": SELFIE, "b": photos.without_face()}),
            http.post("/api/v1/detect-faces", json={}),
        ):
            assert answer.is_client_error, answer.text
    assert calls(fresh.url) == {}
    assert sum(metric(fresh.url, "rekognition_calls_total").values()) == 0


def test_accounts_see_their_own_calls() -> None:
    with running(**SETTINGS) as service:
        key_id, secret = made(service, "--account", OTHER, "--role", "admin")

        def client(key: str, password: str) -> "RekognitionClient":
            return boto3.session.Session().client(
                "rekognition", endpoint_url=service.url, region_name="eu-west-1", aws_access_key_id=key,
                aws_secret_access_key=password, config=Config(retries={"total_max_attempts": 1}),
            )  # fmt: skip

        for _ in range(2):
            client(KEY_ID, SECRET).detect_faces(Image={"Bytes": SELFIE})
        client(key_id, secret).compare_faces(SourceImage={"Bytes": SELFIE}, TargetImage={"Bytes": SELFIE})
        assert calls(service.url, **{"X-API-Key": f"{KEY_ID}:{SECRET}"}) == {"DetectFaces": 2}
        assert calls(service.url, **{"X-API-Key": f"{key_id}:{secret}"}) == {"CompareFaces": 1}
        assert httpx.get(f"{service.url}/ops/status").status_code == 401


def test_an_operators_own_price() -> None:
    with running(REKOGNITION_PRICES='{"DetectFaces": 0.1}') as service:
        client = rekognition_client(service.url)
        for _ in range(3):
            client.detect_faces(Image={"Bytes": SELFIE})
        told = savings(service.url)
        assert told["calls"] == [{"operation": "DetectFaces", "calls": 3, "price": 0.1, "dollars": 0.3}]
        assert told["dollars"] == 0.3
        assert metric(service.url, "rekognition_dollars_saved_total")[""] == pytest.approx(0.3)


def test_prices_that_are_none_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailedError, match=r"(?i)REKOGNITION_PRICES"):
        start(tmp_path / "data", REKOGNITION_PRICES='{"IndexFace": 1}')


def test_counts_survive_a_restart(tmp_path: Path) -> None:
    for number in range(1, 4):
        service = start(tmp_path / "data")
        try:
            rekognition_client(service.url).detect_faces(Image={"Bytes": SELFIE})
            assert calls(service.url) == {"DetectFaces": number}
            # Of this process alone.
            assert sum(metric(service.url, "rekognition_calls_total").values()) == 1
        finally:
            service.stop()
        assert "Traceback" not in service.log


def test_the_counts_of_two_replicas_add_up(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path / "database")
    url = database.start()
    replicas = []
    try:
        replicas = [start(tmp_path / f"replica{number}", DATABASE_URL=url) for number in range(2)]
        for number, replica in enumerate(replicas, 1):
            for _ in range(number):
                rekognition_client(replica.url).detect_faces(Image={"Bytes": SELFIE})
            assert calls(replica.url)["DetectFaces"] >= number
        replicas.pop().stop()
        assert calls(replicas[0].url) == {"DetectFaces": 3}
    finally:
        for replica in replicas:
            replica.stop()
        database.stop()
