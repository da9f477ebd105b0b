"""An unmodified boto3 program against the Rekognition door."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING
from uuid import UUID

import botocore.exceptions
import httpx
import pytest

from app.domain import Embed, Look
from app.engine.similarity import SimilarityCurve
from app.images.decode import EncodedPicture
from app.measure.engine import LIMITS, LocalEngine, analyse
from app.service.recognition import cosine_of, embedding_of
from app.settings import Settings
from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def test_a_person_of_a_group_photo_is_recognised_from_a_crop(
    rekognition: "RekognitionClient", collection: str
) -> None:
    group = photos.group()
    indexed = rekognition.index_faces(
        CollectionId=collection, Image={"Bytes": group}, ExternalImageId="t1.jpg"
    )
    assert len(indexed["FaceRecords"]) == 6
    for record in indexed["FaceRecords"]:
        probe = photos.crop_around(group, record["Face"]["BoundingBox"])
        found = rekognition.search_faces_by_image(
            CollectionId=collection, Image={"Bytes": probe}, FaceMatchThreshold=0
        )
        best, *others = found["FaceMatches"]
        assert best["Face"]["FaceId"] == record["Face"]["FaceId"]
        assert best["Face"]["ExternalImageId"] == "t1.jpg"
        assert best["Similarity"] > 99
        assert len(others) == 5
        assert all(other["Similarity"] < 80 for other in others)


def test_default_threshold_leaves_strangers_out(rekognition: "RekognitionClient", collection: str) -> None:
    rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.group()})
    found = rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": photos.astronaut()})
    assert found["FaceMatches"] == []
    assert found["SearchedFaceConfidence"] > 50


def test_searching_a_face_leaves_that_face_out(rekognition: "RekognitionClient", collection: str) -> None:
    image = photos.astronaut()
    first = rekognition.index_faces(CollectionId=collection, Image={"Bytes": image}, ExternalImageId="a")
    second = rekognition.index_faces(CollectionId=collection, Image={"Bytes": image}, ExternalImageId="b")
    searched, twin = (answer["FaceRecords"][0]["Face"]["FaceId"] for answer in (first, second))
    found = rekognition.search_faces(CollectionId=collection, FaceId=searched)
    assert [match["Face"]["FaceId"] for match in found["FaceMatches"]] == [twin]
    assert found["FaceMatches"][0]["Similarity"] == 100
    assert found["SearchedFaceId"] == searched


def test_index_answers_largest_face_first_with_its_details(
    rekognition: "RekognitionClient", collection: str
) -> None:
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.group()})
    areas = [
        record["Face"]["BoundingBox"]["Width"] * record["Face"]["BoundingBox"]["Height"]
        for record in answer["FaceRecords"]
    ]
    assert areas == sorted(areas, reverse=True)
    face, detail = answer["FaceRecords"][0]["Face"], answer["FaceRecords"][0]["FaceDetail"]
    assert UUID(face["FaceId"]).version == 4
    assert UUID(face["ImageId"]).version == 5
    assert face["IndexFacesModelVersion"] == answer["FaceModelVersion"]
    assert "UserId" not in face
    assert "ExternalImageId" not in face
    assert [point["Type"] for point in detail["Landmarks"]] == [
        "eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"
    ]  # fmt: skip
    assert set(detail["Pose"]) == {"Roll", "Yaw", "Pitch"}
    assert 0 < detail["Quality"]["Brightness"] < 100
    assert answer["UnindexedFaces"] == []


def test_same_image_under_same_external_id_is_stored_once(
    rekognition: "RekognitionClient", collection: str, face_count: Callable[[str], int]
) -> None:
    def index(_: int) -> list[str]:
        answer = rekognition.index_faces(
            CollectionId=collection, Image={"Bytes": photos.group()}, ExternalImageId="same"
        )
        return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]

    with ThreadPoolExecutor(8) as threads:  # at once
        at_once = list(threads.map(index, range(8)))
    assert all(ids == at_once[0] for ids in at_once)
    assert index(0) == at_once[0]  # and again
    assert face_count(collection) == 6


def test_same_image_without_external_id_gets_new_faces_of_one_image_id(
    rekognition: "RekognitionClient", collection: str, face_count: Callable[[str], int]
) -> None:
    answers = [
        rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.astronaut()})
        for _ in range(2)
    ]
    faces = [answer["FaceRecords"][0]["Face"] for answer in answers]
    assert faces[0]["FaceId"] != faces[1]["FaceId"]
    assert faces[0]["ImageId"] == faces[1]["ImageId"]
    assert face_count(collection) == 2


def test_a_face_that_was_deleted_is_stored_again(rekognition: "RekognitionClient", collection: str) -> None:
    def index() -> str:
        answer = rekognition.index_faces(
            CollectionId=collection, Image={"Bytes": photos.astronaut()}, ExternalImageId="x"
        )
        return answer["FaceRecords"][0]["Face"]["FaceId"]

    first = index()
    rekognition.delete_faces(CollectionId=collection, FaceIds=[first])
    assert index() != first


def test_max_faces_keeps_the_largest_and_names_the_others(
    rekognition: "RekognitionClient", collection: str, face_count: Callable[[str], int]
) -> None:
    everyone = rekognition.detect_faces(Image={"Bytes": photos.group()})["FaceDetails"]
    answer = rekognition.index_faces(
        CollectionId=collection, Image={"Bytes": photos.group()}, MaxFaces=2, QualityFilter="NONE"
    )
    assert [record["Face"]["BoundingBox"]["Width"] for record in answer["FaceRecords"]] == pytest.approx(
        [face["BoundingBox"]["Width"] for face in everyone[:2]], rel=1e-5
    )
    assert [left["Reasons"] for left in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 4
    assert "FaceDetail" in answer["UnindexedFaces"][0]
    assert face_count(collection) == 2


def test_image_without_face_indexes_nothing(
    rekognition: "RekognitionClient", collection: str, face_count: Callable[[str], int]
) -> None:
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.without_face()})
    assert answer["FaceRecords"] == []
    assert answer["UnindexedFaces"] == []
    assert face_count(collection) == 0
    assert rekognition.detect_faces(Image={"Bytes": photos.without_face()})["FaceDetails"] == []


def test_faces_are_listed_page_by_page(rekognition: "RekognitionClient", collection: str) -> None:
    indexed = rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.group()})
    wanted = sorted(record["Face"]["FaceId"] for record in indexed["FaceRecords"])
    pages = list(
        rekognition.get_paginator("list_faces").paginate(
            CollectionId=collection, PaginationConfig={"PageSize": 4}
        )
    )
    assert [len(page["Faces"]) for page in pages] == [4, 2]
    assert [face["FaceId"] for page in pages for face in page["Faces"]] == wanted
    some = rekognition.list_faces(CollectionId=collection, FaceIds=wanted[:2])
    assert [face["FaceId"] for face in some["Faces"]] == wanted[:2]
    assert rekognition.list_faces(CollectionId=collection, UserId="nobody")["Faces"] == []


def test_deleting_faces_tells_which_were_not_there(
    rekognition: "RekognitionClient", collection: str, face_count: Callable[[str], int]
) -> None:
    indexed = rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.group()})
    face_id = indexed["FaceRecords"][0]["Face"]["FaceId"]
    stranger = "00000000-0000-4000-8000-000000000000"
    answer = rekognition.delete_faces(CollectionId=collection, FaceIds=[face_id, stranger])
    assert answer["DeletedFaces"] == [face_id]
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": stranger, "Reasons": ["FACE_NOT_FOUND"]}]
    assert face_count(collection) == 5


def test_comparing_splits_the_target_faces(rekognition: "RekognitionClient") -> None:
    group = photos.group()
    person = rekognition.detect_faces(Image={"Bytes": group})["FaceDetails"][3]["BoundingBox"]
    answer = rekognition.compare_faces(
        SourceImage={"Bytes": photos.crop_around(group, person)},
        TargetImage={"Bytes": group},
    )
    assert [match["Similarity"] > 99 for match in answer["FaceMatches"]] == [True]
    assert answer["FaceMatches"][0]["Face"]["BoundingBox"]["Left"] == pytest.approx(person["Left"])
    assert len(answer["UnmatchedFaces"]) == 5
    assert answer["SourceImageFace"]["Confidence"] > 50


def test_life_of_a_collection(rekognition: "RekognitionClient") -> None:
    before = datetime.now(UTC)
    created = rekognition.create_collection(CollectionId="life", Tags={"team": "a b"})
    assert created["StatusCode"] == 200
    assert created["CollectionArn"] == "aws:rekognition:us-east-1:000000000000:collection/life"
    described = rekognition.describe_collection(CollectionId="life")
    assert described["CollectionARN"].endswith(created["CollectionArn"])
    assert (described["FaceCount"], described["UserCount"]) == (0, 0)
    assert abs((described["CreationTimestamp"] - before).total_seconds()) < 60
    with pytest.raises(
        rekognition.exceptions.ResourceAlreadyExistsException, match="The collection id: life already exists"
    ):
        rekognition.create_collection(CollectionId="life")
    assert rekognition.delete_collection(CollectionId="life")["StatusCode"] == 200
    with pytest.raises(
        rekognition.exceptions.ResourceNotFoundException, match="The collection id: life does not exist"
    ):
        rekognition.describe_collection(CollectionId="life")


def test_deleted_collection_leaves_no_face_behind(rekognition: "RekognitionClient") -> None:
    for _ in range(2):
        rekognition.create_collection(CollectionId="again")
        rekognition.index_faces(CollectionId="again", Image={"Bytes": photos.astronaut()})
        assert rekognition.describe_collection(CollectionId="again")["FaceCount"] == 1
        rekognition.delete_collection(CollectionId="again")


def test_collections_are_listed_page_by_page_also_with_the_longest_ids(
    rekognition: "RekognitionClient",
) -> None:
    names = [f"{letter}{'-' * 253}{letter}" for letter in "zyx"]
    for name in names:
        rekognition.create_collection(CollectionId=name)
    found: list[str] = []
    token = None
    while True:
        page = rekognition.list_collections(MaxResults=1, **({"NextToken": token} if token else {}))
        found += page["CollectionIds"]
        assert len(page["FaceModelVersions"]) == len(page["CollectionIds"])
        token = page.get("NextToken")
        if not token:
            break
        assert len(token) <= 255
    assert found == sorted(found)
    assert set(names) <= set(found)
    for name in names:
        rekognition.delete_collection(CollectionId=name)


def test_listing_goes_on_after_the_last_listed_collection_was_deleted(
    rekognition: "RekognitionClient",
) -> None:
    names = ["page-a", "page-b"]
    for name in names:
        rekognition.create_collection(CollectionId=name)
    token, seen = None, []
    while True:
        page = rekognition.list_collections(MaxResults=1, **({"NextToken": token} if token else {}))
        if page["CollectionIds"] and page["CollectionIds"][0] in names:
            seen += page["CollectionIds"]
            rekognition.delete_collection(CollectionId=page["CollectionIds"][0])
        token = page.get("NextToken")
        if not token:
            break
    assert seen == names


def test_errors_look_like_those_of_aws(service_url: str) -> None:
    answer = httpx.post(
        service_url,
        json={"CollectionId": "nowhere"},
        headers={
            "X-Amz-Target": "RekognitionService.DescribeCollection",
            "Content-Type": "application/x-amz-json-1.1",
        },
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    body = answer.json()
    assert body == {
        "__type": "ResourceNotFoundException",
        "Code": "ResourceNotFoundException",
        "Logref": answer.headers["x-amzn-requestid"],
        "Message": "The collection id: nowhere does not exist",
    }


def test_operation_that_is_not_served_is_unknown(rekognition: "RekognitionClient") -> None:
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        rekognition.detect_labels(Image={"Bytes": photos.astronaut()})
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_search_in_an_unknown_collection_or_for_an_unknown_face(
    rekognition: "RekognitionClient", collection: str
) -> None:
    image = photos.astronaut()
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.search_faces_by_image(CollectionId="nowhere", Image={"Bytes": image})
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.index_faces(CollectionId="nowhere", Image={"Bytes": image})
    with pytest.raises(
        rekognition.exceptions.InvalidParameterException, match=r"faceId was not found in the collection\."
    ):
        rekognition.search_faces(CollectionId=collection, FaceId="00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"CollectionId": "a b"}', "InvalidParameterException",
         "1 validation error detected: Value 'a b' at 'collectionId' failed to satisfy constraint: "
         r"Member must satisfy regular expression pattern: [a-zA-Z0-9_.\-]+"),
        (b"{}", "InvalidParameterException",
         "1 validation error detected: Value null at 'collectionId' failed to satisfy constraint: "
         "Member must not be null"),
        (b'{"CollectionId": "a\\u0000"}', "InvalidParameterException", None),
        (b'{"CollectionId": "' + b"a" * 256 + b'"}', "InvalidParameterException", None),
        (b'{"CollectionId": 7}', "SerializationException", None),
        (b'{"CollectionId": ["a"]}', "SerializationException", None),
        (b'["CollectionId"]', "SerializationException", None),
        (b'{"CollectionId": "a"', "SerializationException", None),
        (b"\xff\xfe", "SerializationException", None),
    ],
)  # fmt: skip
def test_malformed_requests_are_refused(
    service_url: str, body: bytes, code: str, message: str | None
) -> None:
    answer = httpx.post(
        service_url, content=body, headers={"X-Amz-Target": "RekognitionService.CreateCollection"}
    )
    assert (answer.status_code, answer.json()["__type"]) == (400, code)
    if message is not None:
        assert answer.json()["Message"] == message


def test_out_of_range_values_are_refused_in_aws_words(
    rekognition: "RekognitionClient", service_url: str
) -> None:
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="less than or equal to 4096"):
        rekognition.list_collections(MaxResults=4097)
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="enum value set"):
        rekognition.detect_faces(Image={"Bytes": photos.astronaut()}, Attributes=["NOSE"])  # type: ignore[list-item]  # the point of the test
    with pytest.raises(rekognition.exceptions.InvalidPaginationTokenException):
        rekognition.list_collections(NextToken="made-up")
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match=r"'faceIds\.1\.member'"):
        rekognition.delete_faces(CollectionId="a", FaceIds=["no-uuid"])


def test_deleting_a_collection_while_faces_are_indexed_is_no_server_error(
    rekognition: "RekognitionClient", http: httpx.Client
) -> None:
    image, portrait = (
        photos.without_face(),
        photos.encode(photos.opened(photos.astronaut()).resize((200, 200))),
    )
    stop = Event()
    codes: set[str] = set()

    def index() -> None:
        while not stop.is_set():
            try:
                rekognition.index_faces(CollectionId="fleeting", Image={"Bytes": portrait})
                rekognition.index_faces(CollectionId="fleeting", Image={"Bytes": image})
            except botocore.exceptions.ClientError as error:
                codes.add(error.response["Error"]["Code"])

    def enroll() -> None:
        while not stop.is_set():
            for path in ("/enroll", "/identify"):
                fields = {"member_id": "m"} if path == "/enroll" else {}
                answer = http.post(f"{path}?collection=fleeting", files={"file": portrait}, data=fields)
                codes.add(str(answer.status_code))

    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(work) for work in (index, index, enroll, enroll)]
        for _ in range(25):
            rekognition.create_collection(CollectionId="fleeting")
            time.sleep(0.06)
            rekognition.delete_collection(CollectionId="fleeting")
        stop.set()
        for worker in workers:
            worker.result()
    assert codes <= {"ResourceNotFoundException", "200", "404"}
    assert "fleeting" not in rekognition.list_collections()["CollectionIds"]


def test_compare_faces_looks_at_the_source_and_its_mirror_image(rekognition: "RekognitionClient") -> None:
    engine = LocalEngine(Settings(_env_file=None))  # type: ignore[call-arg]  # pydantic-settings' own
    try:
        both = Look(Embed.LARGEST, 100, mirror=True, alone=True)
        (source,) = engine.pipeline.analyse(EncodedPicture(photos.astronaut(), LIMITS), both)
        targets = analyse(engine.pipeline, photos.group(), Embed.ALL)
    finally:
        engine.close()
    curve = SimilarityCurve.of(engine.pipeline.pack)
    expected = [curve.similarity(cosine_of(embedding_of(source), embedding_of(face))) for face in targets]
    compared = rekognition.compare_faces(
        SourceImage={"Bytes": photos.astronaut()},
        TargetImage={"Bytes": photos.group()},
        SimilarityThreshold=0,
    )
    shown = [match["Similarity"] for match in compared["FaceMatches"]]
    assert shown == pytest.approx(sorted(expected, reverse=True), abs=0.05)
