"""`python -m app serve`: starting, stopping, restarting, and what stops a start."""

import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import psycopg
import pytest

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import RunningService, ServiceFailedError, start
from app.store.embedded import EmbeddedPostgres
from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def postgres_processes(data_dir: Path) -> list[int]:
    return [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "name", "cmdline"])
        if process.info["name"] == "postgres" and str(data_dir) in " ".join(process.info["cmdline"] or [])
    ]


def search(client: "RekognitionClient", probe: bytes) -> list[tuple[str, float]]:
    found = client.search_faces_by_image(CollectionId="kept", Image={"Bytes": probe}, FaceMatchThreshold=0)
    return [(match["Face"]["FaceId"], match["Similarity"]) for match in found["FaceMatches"]]


def test_data_survives_a_restart_and_ctrl_c_stops_the_database_too(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "postgres").mkdir(parents=True)  # for the service to make its database in
    group = photos.group()
    service = start(data_dir)
    client = rekognition_client(service.url)
    client.create_collection(CollectionId="kept")
    indexed = client.index_faces(CollectionId="kept", Image={"Bytes": group})
    probe = photos.crop_around(group, indexed["FaceRecords"][2]["Face"]["BoundingBox"])
    before = search(client, probe)
    assert before[0][0] == indexed["FaceRecords"][2]["Face"]["FaceId"]
    assert postgres_processes(data_dir)
    assert f"docs at {service.url}/docs" in service.log
    assert "non-commercial research" in service.log
    service.stop(signal.SIGINT)
    assert postgres_processes(data_dir) == []

    service = start(data_dir)
    assert search(rekognition_client(service.url), probe) == before
    assert service.stop(signal.SIGTERM) == 0
    assert postgres_processes(data_dir) == []


def test_a_killed_service_starts_again_with_its_data(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    service = start(data_dir)
    rekognition_client(service.url).create_collection(CollectionId="kept")
    service.stop(signal.SIGKILL)
    service = start(data_dir)
    assert rekognition_client(service.url).list_collections()["CollectionIds"] == ["kept"]
    service.stop()
    assert postgres_processes(data_dir) == []


def test_second_serve_on_a_data_dir_says_so_and_harms_nothing(service: RunningService) -> None:
    data_dir = service.log_path.parent
    with pytest.raises(ServiceFailedError, match=r"another `serve` runs on .*: stop it, or set DATA_DIR"):
        start(data_dir)
    assert httpx.get(f"{service.url}/ready").status_code == 200


def test_other_commands_attach_to_the_running_database_and_leave_it_running(service: RunningService) -> None:
    database = EmbeddedPostgres(service.log_path.parent)
    url = database.start()
    assert url.startswith("postgresql+psycopg://")
    database.stop()
    assert httpx.get(f"{service.url}/ready").status_code == 200


def test_the_last_user_of_the_database_stops_it(tmp_path: Path) -> None:
    first, second = EmbeddedPostgres(tmp_path / "data"), EmbeddedPostgres(tmp_path / "data")
    assert first.start() == second.start()
    first.stop()
    assert postgres_processes(tmp_path / "data")
    second.stop()
    assert postgres_processes(tmp_path / "data") == []


@pytest.mark.parametrize("depth", [1, 12])
def test_no_permission_outside_data_dir_changes(tmp_path: Path, depth: int) -> None:
    """Also below a folder that only its owner may enter, and where a socket's path would be too long."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed.joinpath(*["a-long-folder-name"] * depth, "data")
    data_dir.parent.mkdir(parents=True)
    watched = [data_dir.parent, *data_dir.parent.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in watched]
    binaries = Path(sys.prefix)
    venv_before = binaries.stat().st_mode
    database = EmbeddedPostgres(data_dir)
    database.start()
    try:
        assert [(path.stat().st_mode, path.stat().st_uid) for path in watched] == before
        assert binaries.stat().st_mode == venv_before
        assert (data_dir / "postgres").stat().st_uid == os.geteuid()
    finally:
        database.stop()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"PORT": "eight"}, "wrong setting: PORT: Input should be a valid integer"),
        ({"PORT": "70000"}, "wrong setting: PORT: Input should be less than or equal to 65535"),
        ({"MODEL_PACK": "buffalo_xxl"}, "wrong setting: MODEL_PACK: Input should be 'mobile'"),
        ({"FACE_RECOGNITION_THRESHOLD": "35"}, "wrong setting: FACE_RECOGNITION_THRESHOLD: "),
        ({"ROOT_PATH": "face/"}, "wrong setting: ROOT_PATH"),
        ({"DATABASE_URL": "mysql://root:secret@db/faces"}, "wrong setting: DATABASE_URL"),
        ({"INFERENCE_QUEUE_SIZE": "10"}, "wrong setting: INFERENCE_QUEUE_SIZE"),
        ({"MODEL_PACK": "buffalo_l"}, "python -m app models install buffalo_l --accept-license"),
        ({"DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/faces"}, "the database can't be used"),
        ({"RUNTIME": "cuda"}, "RUNTIME=cuda needs onnxruntime-gpu in place of onnxruntime"),
    ],
)  # fmt: skip
def test_a_wrong_value_stops_the_start_with_one_clear_line(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(ServiceFailedError) as failure:
        start(tmp_path / "data", **settings)
    lines = [line for line in str(failure.value).splitlines() if '"level": "info"' not in line]
    assert len(lines) == 1
    assert says in lines[0]
    assert "secret" not in lines[0]


def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServiceFailedError, match="address already in use"),
    ):
        start(tmp_path / "data", PORT=str(taken.getsockname()[1]))
    assert postgres_processes(tmp_path / "data") == []


def test_a_public_prefix_works_stripped_by_the_proxy_or_not(tmp_path: Path) -> None:
    service = start(tmp_path / "data", ROOT_PATH="/face")
    try:
        for prefix in ("", "/face"):
            assert httpx.get(f"{service.url}{prefix}/health").status_code == 200
            client = rekognition_client(f"{service.url}{prefix}")
            assert client.list_collections()["CollectionIds"] == []
            page = httpx.get(f"{service.url}{prefix}/docs").text
            assert '"/face/docs/assets/swagger-ui.css"' in page
        assert httpx.get(f"{service.url}/face/docs/assets/swagger-ui.css").status_code == 200
        assert httpx.get(f"{service.url}/openapi.json").json()["servers"] == [{"url": "/face"}]
    finally:
        service.stop()


def test_a_database_of_ones_own_is_used_and_migrated(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path / "elsewhere")
    url = database.start()
    try:
        service = start(tmp_path / "data", DATABASE_URL=url.replace("+psycopg", ""))
        try:
            assert httpx.get(f"{service.url}/ready").json()["status"] == "ready"
            assert not (tmp_path / "data" / "postgres").exists()
        finally:
            service.stop()
    finally:
        database.stop()


def test_a_lost_database_is_503_until_it_is_back(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path / "elsewhere")
    service = start(tmp_path / "data", DATABASE_URL=database.start())
    try:
        database.stop()
        lost = httpx.get(f"{service.url}/ready")
        assert (lost.status_code, lost.json()["code"]) == (503, "ServiceUnavailableError")
        assert int(lost.headers["Retry-After"]) > 0
        assert httpx.get(f"{service.url}/health").status_code == 200
        database.start()
        assert httpx.get(f"{service.url}/ready").status_code == 200
    finally:
        service.stop()
        database.stop()


def test_a_collection_of_another_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path / "elsewhere")
    url = database.start()
    service = start(tmp_path / "data", DATABASE_URL=url)
    try:
        client = rekognition_client(service.url)
        client.create_collection(CollectionId="old")
        client.index_faces(CollectionId="old", Image={"Bytes": photos.astronaut()})
        psql(url, "UPDATE collections SET face_model_version = '2.0'")
        for call in (client.index_faces, client.search_faces_by_image):
            with pytest.raises(
                client.exceptions.InvalidParameterException, match=r"face model 2\.0.*index the images again"
            ):
                call(CollectionId="old", Image={"Bytes": photos.astronaut()})
        described = client.describe_collection(CollectionId="old")
        assert (described["FaceModelVersion"], described["FaceCount"]) == ("2.0", 1)
        answer = httpx.post(
            f"{service.url}/api/v1/collections/old/index-faces", files={"file": photos.astronaut()}
        )
        assert (answer.status_code, answer.json()["reason"]) == (409, "FaceModelMismatch")
    finally:
        service.stop()
        database.stop()


def psql(url: str, statement: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(statement)


def images_of(url: str) -> tuple[int, int]:
    """How many images wait, and how many wait, are worked on or are answered for, all at one moment."""
    figures = dict(line.rsplit(" ", 1) for line in httpx.get(f"{url}/metrics").text.splitlines())
    waiting = int(float(figures["inference_waiting"]))
    answered = sum(
        float(value) for name, value in figures.items() if name.startswith("face_operations_total{")
    )
    return waiting, waiting + int(float(figures["inference_busy"]) + answered)


def test_stopping_finishes_the_requests_in_hand(tmp_path: Path) -> None:
    service = start(tmp_path / "data", INFERENCE_THREADS="1")
    # Twice the work of one that is not progressive.
    large = photos.encode(photos.opened(photos.group()).resize((5120, 3544)), progressive=True)

    def detect(_: int) -> int:
        return httpx.post(f"{service.url}/api/v1/detect-faces", files={"file": large}, timeout=60).status_code

    try:
        with ThreadPoolExecutor(8) as clients:
            answers = [clients.submit(detect, number) for number in range(8)]
            waiting = known = 0
            while not waiting or known < len(answers):
                assert not all(answer.done() for answer in answers)
                waiting, known = images_of(service.url)
            assert service.stop(signal.SIGTERM) == 0
            assert [answer.result() for answer in answers] == [200] * 8
    finally:
        service.stop()
