"""A worker builds the index of a collection that has grown large, and takes it away with the collection."""

import re
import time
from uuid import uuid4

import httpx

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import running, start_worker
from tests import photos

DEADLINE_S = 200


def _wait_for_indexes(url: str, wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = re.search(
            r'^vector_indexes\{state="valid"\} (\S+)$', httpx.get(f"{url}/metrics").text, re.MULTILINE
        )
        if found is not None and float(found[1]) == wanted:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_a_worker_indexes_a_collection_and_its_searches_stay_right() -> None:
    settings = {"VECTOR_INDEX_FACES": "2"}
    with running(**settings) as service:
        client = rekognition_client(service.url, 1)
        name = f"large-{uuid4()}"
        client.create_collection(CollectionId=name)
        faces = []
        for number, photo in enumerate((photos.astronaut(), photos.group())):
            indexed = client.index_faces(
                CollectionId=name, Image={"Bytes": photo}, ExternalImageId=str(number)
            )
            faces += [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]
        assert len(faces) >= 2
        worker = start_worker(service.log_path.parent, **settings)
        try:
            _wait_for_indexes(service.url, 1)
            for _ in range(10):  # by then the statement is a prepared one
                found = client.search_faces(CollectionId=name, FaceId=faces[0], FaceMatchThreshold=0)
                assert {match["Face"]["FaceId"] for match in found["FaceMatches"]} == set(faces[1:])
            client.delete_collection(CollectionId=name)
            _wait_for_indexes(service.url, 0)
        finally:
            worker.stop()
        assert "Traceback" not in worker.log + service.log
