"""Users and tags at the Rekognition door, by boto3."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests import photos

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def group(rekognition: "RekognitionClient", collection: str) -> list[str]:
    """The faces of six people, indexed; their ids, largest first."""
    indexed = rekognition.index_faces(CollectionId=collection, Image={"Bytes": photos.group()})
    return [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]


def index_again(client: "RekognitionClient", collection: str, number: int) -> str:
    """Another photo of one of the six: a crop of the group photo, brighter."""
    found = client.detect_faces(Image={"Bytes": photos.group()})["FaceDetails"]
    crop = photos.opened(photos.crop_around(photos.group(), found[number]["BoundingBox"]))
    image = photos.encode(crop.point(lambda value: min(255, value * 1.2)))
    indexed = client.index_faces(CollectionId=collection, Image={"Bytes": image}, MaxFaces=1)
    return indexed["FaceRecords"][0]["Face"]["FaceId"]


def users_of(client: "RekognitionClient", collection: str) -> dict[str, str]:
    return {
        user["UserId"]: user["UserStatus"] for user in client.list_users(CollectionId=collection)["Users"]
    }


def test_life_of_a_user(rekognition: "RekognitionClient", collection: str, group: list[str]) -> None:
    created: Any = rekognition.create_user(CollectionId=collection, UserId="anna")
    assert set(created) == {"ResponseMetadata"}
    assert users_of(rekognition, collection) == {"anna": "CREATED"}
    with pytest.raises(rekognition.exceptions.ConflictException):
        rekognition.create_user(CollectionId=collection, UserId="anna")

    second = index_again(rekognition, collection, 0)
    done = rekognition.associate_faces(
        CollectionId=collection, UserId="anna", FaceIds=[group[0], second, NOBODY]
    )
    assert {face["FaceId"] for face in done["AssociatedFaces"]} == {group[0], second}
    assert done["UnsuccessfulFaceAssociations"] == [{"FaceId": NOBODY, "Reasons": ["FACE_NOT_FOUND"]}]
    assert done["UserStatus"] == "ACTIVE"
    assert users_of(rekognition, collection) == {"anna": "ACTIVE"}
    listed = rekognition.list_faces(CollectionId=collection, UserId="anna")["Faces"]
    assert {face["FaceId"] for face in listed} == {group[0], second}
    assert all(face["UserId"] == "anna" for face in listed)

    kept = rekognition.delete_faces(CollectionId=collection, FaceIds=[second])
    assert kept["UnsuccessfulFaceDeletions"][0]["Reasons"] == ["ASSOCIATED_TO_AN_EXISTING_USER"]
    gone = rekognition.disassociate_faces(
        CollectionId=collection, UserId="anna", FaceIds=[second, group[1], NOBODY]
    )
    assert gone["DisassociatedFaces"] == [{"FaceId": second}]
    assert [item["Reasons"] for item in gone["UnsuccessfulFaceDisassociations"]] == [["FACE_NOT_FOUND"]] * 2
    assert rekognition.delete_faces(CollectionId=collection, FaceIds=[second])["DeletedFaces"] == [second]

    assert set(rekognition.delete_user(CollectionId=collection, UserId="anna")) == {"ResponseMetadata"}
    assert users_of(rekognition, collection) == {}
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 6
    with pytest.raises(
        rekognition.exceptions.ResourceNotFoundException, match="The user id: anna does not exist"
    ):
        rekognition.delete_user(CollectionId=collection, UserId="anna")


def test_faces_of_other_people_and_of_other_users_are_not_associated(
    rekognition: "RekognitionClient", collection: str, group: list[str]
) -> None:
    for user in ("anna", "ben"):
        rekognition.create_user(CollectionId=collection, UserId=user)
    rekognition.associate_faces(CollectionId=collection, UserId="anna", FaceIds=group[:1])
    again = rekognition.associate_faces(CollectionId=collection, UserId="anna", FaceIds=group[:1])
    assert (again["AssociatedFaces"], again["UnsuccessfulFaceAssociations"]) == ([], [])
    stranger = rekognition.associate_faces(CollectionId=collection, UserId="anna", FaceIds=[group[1]])
    (refused,) = stranger["UnsuccessfulFaceAssociations"]
    assert (refused["FaceId"], refused["Reasons"]) == (group[1], ["LOW_MATCH_CONFIDENCE"])
    assert 0 <= refused["Confidence"] < 75
    anyway = rekognition.associate_faces(
        CollectionId=collection, UserId="anna", FaceIds=[group[1]], UserMatchThreshold=0
    )
    assert anyway["AssociatedFaces"] == [{"FaceId": group[1]}]
    taken = rekognition.associate_faces(CollectionId=collection, UserId="ben", FaceIds=group[:1])
    assert taken["UnsuccessfulFaceAssociations"] == [
        {"FaceId": group[0], "UserId": "anna", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    ]
    assert taken["UserStatus"] == "CREATED"
    gone = rekognition.disassociate_faces(CollectionId=collection, UserId="ben", FaceIds=group[:1])
    assert gone["UnsuccessfulFaceDisassociations"] == [
        {"FaceId": group[0], "UserId": "anna", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    ]


def test_a_new_user_gets_the_faces_that_are_alike_and_not_the_stranger_among_them(
    rekognition: "RekognitionClient", collection: str, group: list[str]
) -> None:
    second = index_again(rekognition, collection, 2)
    rekognition.create_user(CollectionId=collection, UserId="cleo")
    done = rekognition.associate_faces(
        CollectionId=collection, UserId="cleo", FaceIds=[group[5], group[2], second]
    )
    assert {face["FaceId"] for face in done["AssociatedFaces"]} == {group[2], second}
    assert done["UnsuccessfulFaceAssociations"][0]["FaceId"] == group[5]


def test_users_are_searched_by_face_by_user_and_by_image(
    rekognition: "RekognitionClient", collection: str, group: list[str]
) -> None:
    for number, user in enumerate(("anna", "ben", "cleo")):
        rekognition.create_user(CollectionId=collection, UserId=user)
        rekognition.associate_faces(CollectionId=collection, UserId=user, FaceIds=[group[number]])
    rekognition.create_user(CollectionId=collection, UserId="faceless")
    second = index_again(rekognition, collection, 1)

    by_face = rekognition.search_users(CollectionId=collection, FaceId=second)
    assert by_face["SearchedFace"] == {"FaceId": second}
    assert "SearchedUser" not in by_face
    (match,) = by_face["UserMatches"]
    assert match["User"] == {"UserId": "ben", "UserStatus": "ACTIVE"}
    assert match["Similarity"] > 99

    by_user = rekognition.search_users(CollectionId=collection, UserId="anna", UserMatchThreshold=0)
    assert by_user["SearchedUser"] == {"UserId": "anna"}
    assert {match["User"]["UserId"] for match in by_user["UserMatches"]} == {"ben", "cleo"}
    nobody = rekognition.search_users(CollectionId=collection, UserId="faceless", UserMatchThreshold=0)
    assert nobody["UserMatches"] == []

    by_image = rekognition.search_users_by_image(
        CollectionId=collection, Image={"Bytes": photos.group()}, MaxUsers=1
    )
    assert [match["User"]["UserId"] for match in by_image["UserMatches"]] == ["anna"]
    assert len(by_image["UnsearchedFaces"]) == 5
    assert all(left["Reasons"] == ["FACE_NOT_LARGEST"] for left in by_image["UnsearchedFaces"])
    assert by_image["SearchedFace"]["FaceDetail"]["Confidence"] > 50
    empty = rekognition.search_users_by_image(CollectionId=collection, Image={"Bytes": photos.without_face()})
    assert (empty["UserMatches"], empty["UnsearchedFaces"]) == ([], [])
    assert "SearchedFace" not in empty

    for wrong in ({}, {"UserId": "anna", "FaceId": second}):
        with pytest.raises(rekognition.exceptions.InvalidParameterException):
            rekognition.search_users(CollectionId=collection, **wrong)
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="faceId was not found"):
        rekognition.search_users(CollectionId=collection, FaceId=NOBODY)
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException, match="user id: dora"):
        rekognition.search_users(CollectionId=collection, UserId="dora")


def test_a_user_of_several_faces_is_found_by_their_mean(
    rekognition: "RekognitionClient", collection: str, group: list[str]
) -> None:
    rekognition.create_user(CollectionId=collection, UserId="both")
    rekognition.associate_faces(
        CollectionId=collection, UserId="both", FaceIds=group[:2], UserMatchThreshold=0
    )
    alike = rekognition.search_users(CollectionId=collection, FaceId=group[0])["UserMatches"]
    assert [match["User"]["UserId"] for match in alike] == ["both"]
    rekognition.disassociate_faces(CollectionId=collection, UserId="both", FaceIds=[group[0]])
    assert rekognition.search_users(CollectionId=collection, FaceId=group[0])["UserMatches"] == []


def test_users_are_listed_page_by_page(rekognition: "RekognitionClient", collection: str) -> None:
    for number in range(5):
        rekognition.create_user(CollectionId=collection, UserId=f"user:{number}")
    pages = list(
        rekognition.get_paginator("list_users").paginate(
            CollectionId=collection, PaginationConfig={"PageSize": 2}
        )
    )
    assert [[user["UserId"] for user in page["Users"]] for page in pages] == [
        ["user:0", "user:1"],
        ["user:2", "user:3"],
        ["user:4"],
    ]
    with pytest.raises(rekognition.exceptions.InvalidPaginationTokenException):
        rekognition.list_users(CollectionId=collection, NextToken="made-up")


def test_a_request_token_acts_once_and_answers_the_same(
    rekognition: "RekognitionClient", collection: str, group: list[str]
) -> None:
    def create(_: int) -> None:
        rekognition.create_user(CollectionId=collection, UserId="anna", ClientRequestToken=collection)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(create, range(6)))
    with pytest.raises(
        rekognition.exceptions.IdempotentParameterMismatchException,
        match=f"The ClientRequestToken: {collection} you have supplied is already in use.",
    ):
        rekognition.create_user(CollectionId=collection, UserId="ben", ClientRequestToken=collection)

    answers = [
        rekognition.associate_faces(
            CollectionId=collection,
            UserId="anna",
            FaceIds=[group[0], NOBODY],
            ClientRequestToken=collection,
        )
        for _ in range(2)
    ]
    for answer in answers:
        answer.pop("ResponseMetadata")  # type: ignore[misc]  # all that may differ
    assert answers[0] == answers[1]
    assert answers[0]["AssociatedFaces"] == [{"FaceId": group[0]}]
    for _ in range(2):
        rekognition.delete_user(CollectionId=collection, UserId="anna", ClientRequestToken=collection)


def test_a_failed_call_does_not_use_up_its_token(rekognition: "RekognitionClient", collection: str) -> None:
    def delete() -> None:
        rekognition.delete_user(CollectionId=collection, UserId="late", ClientRequestToken=f"d-{collection}")

    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        delete()
    rekognition.create_user(CollectionId=collection, UserId="late")
    delete()
    assert users_of(rekognition, collection) == {}


def test_a_user_has_at_most_100_faces(rekognition: "RekognitionClient", collection: str) -> None:
    portrait = photos.encode(photos.opened(photos.astronaut()).resize((160, 160)))
    face_ids = [
        rekognition.index_faces(CollectionId=collection, Image={"Bytes": portrait})["FaceRecords"][0]["Face"][
            "FaceId"
        ]
        for _ in range(101)
    ]
    rekognition.create_user(CollectionId=collection, UserId="many")
    rekognition.associate_faces(CollectionId=collection, UserId="many", FaceIds=face_ids[:100])
    with pytest.raises(rekognition.exceptions.ServiceQuotaExceededException):
        rekognition.associate_faces(CollectionId=collection, UserId="many", FaceIds=face_ids[100:])
    assert len(rekognition.list_faces(CollectionId=collection, UserId="many")["Faces"]) == 100


def test_tags_of_a_collection(rekognition: "RekognitionClient") -> None:
    arn = rekognition.create_collection(CollectionId="tagged", Tags={"team": "a b", "keep": ""})[
        "CollectionArn"
    ]
    try:
        rekognition.tag_resource(ResourceArn=f"arn:{arn}", Tags={"team": "Ö", "new": "1"})
        wanted = {"team": "Ö", "keep": "", "new": "1"}
        assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == wanted
        rekognition.untag_resource(ResourceArn=arn, TagKeys=["new", "other"])
        assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"team": "Ö", "keep": ""}
        with pytest.raises(rekognition.exceptions.InvalidParameterException):
            rekognition.tag_resource(ResourceArn=arn, Tags={"aws:own": "1"})
        with pytest.raises(rekognition.exceptions.ServiceQuotaExceededException):
            rekognition.tag_resource(ResourceArn=arn, Tags={f"key-{n}": "" for n in range(199)})
        for stranger in (arn.replace("000000000000", "111111111111"), arn + "-not"):
            with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
                rekognition.list_tags_for_resource(ResourceArn=stranger)
        with pytest.raises(rekognition.exceptions.InvalidParameterException):
            rekognition.list_tags_for_resource(ResourceArn="arn:aws:s3:::not-a-collection")
    finally:
        rekognition.delete_collection(CollectionId="tagged")
