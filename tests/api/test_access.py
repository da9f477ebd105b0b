"""Access: signatures, keys, roles and accounts, with AUTH=required."""

import base64
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import httpx
import pytest
from botocore.config import Config
from cryptography.fernet import Fernet

from app.domain import Caller, Role
from app.measure.service import RunningService, running
from app.settings import Settings
from tests import photos
from tests.api.signing import KEY_ID, SECRET, altered, headers_of, signed_request

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

ACCOUNT, OTHER = "000000000000", "222222222222"
SETTINGS = {
    "AUTH": "required",
    "BOOTSTRAP_ACCESS_KEY_ID": KEY_ID,
    "BOOTSTRAP_SECRET_ACCESS_KEY": SECRET,
    "KEYS_MASTER_KEY": Fernet.generate_key().decode(),
}


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningService]:
    """A service that asks everybody for a signature."""
    with running(**SETTINGS) as service:
        yield service
        assert SECRET not in service.log
        assert "Traceback" not in service.log


def client_of(service: RunningService, key_id: str, secret: str, **more: Any) -> "RekognitionClient":
    return boto3.session.Session().client(
        "rekognition", endpoint_url=service.url, region_name="eu-west-1", aws_access_key_id=key_id,
        aws_secret_access_key=secret, config=Config(retries={"total_max_attempts": 1}), **more,
    )  # fmt: skip


def keys(service: RunningService, *arguments: str) -> str:
    """What `python -m app keys` prints, on the database of the running service."""
    environment = {**SETTINGS, "DATA_DIR": str(service.log_path.parent), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "app", "keys", *arguments],
        capture_output=True, text=True, check=True, env=environment,
        cwd=Path(__file__).parents[2],
    ).stdout  # fmt: skip


def made(service: RunningService, *arguments: str) -> tuple[str, str]:
    """A new key: id and secret."""
    printed = dict(line.split("=", 1) for line in keys(service, "create", *arguments).splitlines())
    return printed["AWS_ACCESS_KEY_ID"], printed["AWS_SECRET_ACCESS_KEY"]


def code_of(failure: "pytest.ExceptionInfo[botocore.exceptions.ClientError]") -> str:
    return failure.value.response["Error"]["Code"]


def test_auth_is_required_as_soon_as_others_can_reach_the_service() -> None:
    def required(**settings: Any) -> bool:
        return Settings(_env_file=None, **settings).auth_required  # type: ignore[call-arg]  # pydantic-settings' own

    assert not required()
    assert required(host="0.0.0.0")
    assert required(host="::")
    assert required(auth="required")
    assert not required(host="0.0.0.0", auth="open")


def test_signed_requests_of_boto3_pass_and_others_do_not(locked: RunningService) -> None:
    assert client_of(locked, KEY_ID, SECRET).list_collections()["CollectionIds"] == []
    for key_id, secret, code in (
        (KEY_ID, SECRET + "x", "InvalidSignatureException"),
        ("AKIANOBODY0000000000", SECRET, "UnrecognizedClientException"),
        ("short", SECRET, "UnrecognizedClientException"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as failure:
            client_of(locked, key_id, secret).list_collections()
        assert code_of(failure) == code
        assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        client_of(locked, KEY_ID, SECRET, aws_session_token="token").list_collections()
    assert code_of(failure) == "UnrecognizedClientException"
    answer = httpx.post(
        locked.url, headers={"X-Amz-Target": "RekognitionService.ListCollections"}, content=b"{}"
    )
    assert answer.json()["__type"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "faces.example.org"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"X-Forwarded-For": "203.0.113.7"},
    ],
)
def test_open_by_default_means_this_machine_only(service_url: str, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{service_url}/api/v1/collections", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDeniedException")
    target = {"X-Amz-Target": "RekognitionService.ListCollections", **headers}
    assert httpx.post(service_url, content=b"{}", headers=target).json()["__type"] == "AccessDeniedException"
    local = httpx.get(f"{service_url}/api/v1/collections", headers={"Origin": service_url})
    assert local.status_code == 200


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True), ("a", "a", True), ("a", "ab", False), ("a*", "ab", True), ("*b", "ab", True),
        ("a*b*c", "aXbYc", True), ("a*b*c", "acb", False), ("a*a", "a", False), ("ab*ab", "abab", True),
        ("*-*-*-*-*-prod", "-" * 255, False), ("a.c", "abc", False), ("_", "x", False),
    ],
)  # fmt: skip
def test_patterns_of_collections(pattern: str, text: str, matches: bool) -> None:
    assert Caller(ACCOUNT, Role.READ, (pattern,)).sees(text) is matches


def test_signatures_survive_a_public_prefix() -> None:
    with running(**SETTINGS, ROOT_PATH="/face") as service:
        for end in ("", "/face", "/face/"):
            client = boto3.client(
                "rekognition", endpoint_url=service.url + end, region_name="us-east-1",
                aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
            )  # fmt: skip
            assert client.list_collections()["CollectionIds"] == []
        # A proxy that strips the prefix: the client signed /face/, the service sees /.
        signed = signed_request(b"{}", path="/face/", host=httpx.URL(service.url).netloc.decode())
        answer = httpx.post(f"{service.url}/", content=b"{}", headers=headers_of(signed))
        assert answer.status_code == 200


def test_altered_requests_are_refused_by_the_running_service(locked: RunningService) -> None:
    draw = random.Random(3)
    host = httpx.URL(locked.url).netloc.decode()
    refused = 0
    for _ in range(40):
        headers, body, where = altered(
            draw, headers_of(signed_request(b'{"MaxResults": 1}', host=host)), b'{"MaxResults": 1}'
        )
        headers.pop("Content-Length", None)
        if where or headers["Host"] != host:
            continue
        answer = httpx.post(locked.url, content=body, headers=headers)
        assert answer.status_code == 400, (headers, body)
        assert answer.json()["__type"] in {
            "InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException",
            "MissingAuthenticationTokenException",
        }  # fmt: skip
        refused += 1
    assert refused > 20


def test_the_same_key_opens_the_other_doors(locked: RunningService) -> None:
    with httpx.Client(base_url=locked.url) as http:
        for path in ("/live", "/health", "/ready", "/metrics", "/docs", "/openapi.json"):
            assert http.get(path).status_code == 200
        for path in ("/api/v1/collections", "/ops/status"):
            missing = http.get(path)
            assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert missing.json()["code"] == "MissingAuthenticationTokenException"
            wrong = http.get(path, headers={"X-API-Key": f"{KEY_ID}:wrong"})
            assert (wrong.status_code, wrong.json()["code"]) == (401, "UnrecognizedClientException")
            for headers in (
                {"X-API-Key": f"{KEY_ID}:{SECRET}"},
                {"Authorization": f"Bearer {KEY_ID}:{SECRET}"},
            ):
                assert http.get(path, headers=headers).status_code == 200
        assert http.post("/identify", json={"image_base64": "AAAA"}).status_code == 401


def test_a_key_may_do_what_its_role_says(locked: RunningService) -> None:
    admin = client_of(locked, KEY_ID, SECRET)
    admin.create_collection(CollectionId="roles")
    image: Any = {"Bytes": photos.astronaut()}
    writer = client_of(locked, *made(locked, "--role", "write"))
    writer.index_faces(CollectionId="roles", Image=image)
    reader_key = made(locked)
    reader = client_of(locked, *reader_key)
    assert len(reader.search_faces_by_image(CollectionId="roles", Image=image)["FaceMatches"]) == 1
    for call in (
        lambda: reader.index_faces(CollectionId="roles", Image=image),
        lambda: reader.create_user(CollectionId="roles", UserId="u"),
        lambda: reader.create_collection(CollectionId="more"),
        lambda: writer.create_collection(CollectionId="more"),
        lambda: writer.delete_collection(CollectionId="roles"),
    ):
        with pytest.raises(
            botocore.exceptions.ClientError, match="not authorized to perform: rekog"
        ) as failure:
            call()
        assert code_of(failure) == "AccessDeniedException"
    answer = httpx.post(
        f"{locked.url}/enroll",
        json={"member_id": "1", "image_base64": base64.b64encode(photos.astronaut()).decode()},
        headers={"X-API-Key": ":".join(reader_key)},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDeniedException")
    assert admin.describe_collection(CollectionId="roles")["FaceCount"] == 1
    admin.delete_collection(CollectionId="roles")


def test_a_collection_that_the_patterns_leave_out_does_not_exist(locked: RunningService) -> None:
    admin = client_of(locked, KEY_ID, SECRET)
    for name in ("party-1", "party_2", "private"):
        admin.create_collection(CollectionId=name)
    admin.create_user(CollectionId="private", UserId="u", ClientRequestToken="known")
    key = made(locked, "--role", "admin", "--collections", "party-*,other")
    guest = client_of(locked, *key)
    assert guest.list_collections()["CollectionIds"] == ["party-1"]
    guest.describe_collection(CollectionId="party-1")
    for call in walk("private", photos.astronaut()):
        with pytest.raises(guest.exceptions.ResourceNotFoundException):
            call(guest)
    with pytest.raises(guest.exceptions.ResourceNotFoundException):
        guest.create_user(CollectionId="private", UserId="u", ClientRequestToken="known")
    with pytest.raises(guest.exceptions.AccessDeniedException):
        guest.create_collection(CollectionId="elsewhere")
    with httpx.Client(base_url=locked.url, headers={"X-API-Key": ":".join(key)}) as http:
        image = {"image_base64": base64.b64encode(photos.astronaut()).decode()}
        assert http.get("/api/v1/collections/private").status_code == 404
        assert http.get("/ops/status").json()["collections"] == 1
        assert http.post("/identify", json=image).status_code == 404  # `members` is left out too
        assert http.post("/enroll", json={**image, "member_id": "1"}).status_code == 404
    for name in ("party-1", "party_2", "private"):
        admin.delete_collection(CollectionId=name)


def walk(collection: str, image: bytes) -> list[Any]:
    """Every operation on a collection."""
    face, arn = (
        "00000000-0000-4000-8000-000000000000",
        f"aws:rekognition:us-east-1:{ACCOUNT}:collection/{collection}",
    )
    where: dict[str, Any] = {"CollectionId": collection}
    return [
        lambda c: c.describe_collection(**where),
        lambda c: c.delete_collection(**where),
        lambda c: c.index_faces(**where, Image={"Bytes": image}),
        lambda c: c.list_faces(**where),
        lambda c: c.delete_faces(**where, FaceIds=[face]),
        lambda c: c.search_faces(**where, FaceId=face),
        lambda c: c.search_faces_by_image(**where, Image={"Bytes": image}),
        lambda c: c.create_user(**where, UserId="u"),
        lambda c: c.delete_user(**where, UserId="u"),
        lambda c: c.list_users(**where),
        lambda c: c.associate_faces(**where, UserId="u", FaceIds=[face]),
        lambda c: c.disassociate_faces(**where, UserId="u", FaceIds=[face]),
        lambda c: c.search_users(**where, FaceId=face),
        lambda c: c.search_users(**where, UserId="u"),
        lambda c: c.search_users_by_image(**where, Image={"Bytes": image}),
        lambda c: c.tag_resource(ResourceArn=arn, Tags={"a": "b"}),
        lambda c: c.untag_resource(ResourceArn=arn, TagKeys=["a"]),
        lambda c: c.list_tags_for_resource(ResourceArn=arn),
    ]


def test_two_accounts_with_the_same_collection_id_see_nothing_of_each_other(locked: RunningService) -> None:
    one = client_of(locked, KEY_ID, SECRET)
    other = client_of(locked, *made(locked, "--account", OTHER, "--role", "admin"))
    one.create_collection(CollectionId="same")
    image = photos.astronaut()
    stored = one.index_faces(CollectionId="same", Image={"Bytes": image}, ExternalImageId="x")
    face_id = stored["FaceRecords"][0]["Face"]["FaceId"]
    one.create_user(CollectionId="same", UserId="u")
    one.associate_faces(CollectionId="same", UserId="u", FaceIds=[face_id])

    assert other.list_collections()["CollectionIds"] == []
    for call in walk("same", image):
        with pytest.raises(other.exceptions.ResourceNotFoundException):
            call(other)
    other.create_collection(CollectionId="same")
    assert other.list_faces(CollectionId="same")["Faces"] == []
    assert other.list_users(CollectionId="same")["Users"] == []
    assert other.search_faces_by_image(CollectionId="same", Image={"Bytes": image})["FaceMatches"] == []
    assert other.search_users_by_image(CollectionId="same", Image={"Bytes": image})["UserMatches"] == []
    for search in (
        lambda: other.search_faces(CollectionId="same", FaceId=face_id),
        lambda: other.search_users(CollectionId="same", FaceId=face_id),
    ):
        with pytest.raises(other.exceptions.InvalidParameterException):
            search()
    gone = other.delete_faces(CollectionId="same", FaceIds=[face_id])
    assert gone["UnsuccessfulFaceDeletions"] == [{"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]}]
    again = other.index_faces(CollectionId="same", Image={"Bytes": image}, ExternalImageId="x")
    assert again["FaceRecords"][0]["Face"]["FaceId"] != face_id
    other.delete_collection(CollectionId="same")
    assert one.describe_collection(CollectionId="same")["FaceCount"] == 1
    one.delete_collection(CollectionId="same")


def test_a_revoked_key_stops_working_and_is_listed_so(locked: RunningService, tmp_path: Path) -> None:
    key_id, secret = made(locked, "--account", OTHER, "--collections", "a-*,b")
    assert f"{key_id}  {OTHER}  read  a-*,b" in keys(locked, "list")
    assert secret not in keys(locked, "list")
    assert keys(locked, "revoke", key_id) == f"{key_id} is revoked\n"
    assert f"{key_id}  {OTHER}  revoked" in keys(locked, "list")
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        client_of(locked, key_id, secret).list_collections()
    assert code_of(failure) == "UnrecognizedClientException"
    with pytest.raises(subprocess.CalledProcessError):
        keys(locked, "revoke", key_id)
    with pytest.raises(subprocess.CalledProcessError):
        keys(locked, "create", "--account", "12")
    stored = b"".join(
        path.read_bytes() for path in locked.log_path.parent.rglob("base/*/*") if path.is_file()
    )
    assert secret.encode() not in stored
