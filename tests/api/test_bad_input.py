"""Bad input at every door: a clear 4xx in the words of the door, bounded memory, nothing stored."""

import base64
import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psutil
import pytest
from PIL import Image

from app.api.paging import Listing
from app.measure.service import RunningService
from tests import photos
from tests.loopback import Site, serving

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", photos.group())
    return out.getvalue()


NO_IMAGES = {
    "text": b"this is no photo",
    "gif": photos.encode(Image.new("RGB", (200, 200)), "GIF"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"><rect/></svg>',
    "zip": zipped(),
    "html": b"<!doctype html><html><body>404</body></html>",
    "truncated jpeg": photos.group()[:60_000],
    "jpeg cut before its scan": photos.group()[:200],
    "truncated png": photos.astronaut()[:100_000],
    "jpeg header and noise": photos.group()[:2000] + bytes(range(256)) * 40,
}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_stored_and_nothing_logged(service: RunningService, http: httpx.Client) -> Iterator[None]:
    """The counts after all bad requests are those from before, and none of them was an error of ours."""
    counts = ("collections", "users", "faces")
    before = {name: http.get("/ops/status").json()[name] for name in counts}
    yield
    after = http.get("/ops/status").json()
    assert {name: after[name] for name in counts} == before
    assert '"level": "error"' not in service.log
    assert "Traceback" not in service.log
    assert 'status="5xx"' not in http.get("/metrics").text


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    return problem


@pytest.mark.parametrize("data", NO_IMAGES.values(), ids=NO_IMAGES.keys())
def test_what_is_no_image_is_refused_by_every_door(
    rekognition: "RekognitionClient", http: httpx.Client, data: bytes
) -> None:
    with pytest.raises(rekognition.exceptions.InvalidImageFormatException, match="invalid image format"):
        rekognition.detect_faces(Image={"Bytes": data})
    upload = {"file": ("a.jpg", data)}
    for path, fields in (
        ("/api/v1/detect-faces", {}),
        ("/enroll/file", {"member_id": "1"}),
        ("/identify", {}),
    ):
        answer = http.post(path, files=upload, data=fields)
        assert (answer.status_code, problem_of(answer)["code"]) == (415, "InvalidImageFormatException")


def test_empty_image_is_refused(rekognition: "RekognitionClient", http: httpx.Client) -> None:
    with pytest.raises(rekognition.exceptions.InvalidParameterException):
        rekognition.detect_faces(Image={"Bytes": b""})
    answer = http.post("/api/v1/detect-faces", files={"file": ("a.jpg", b"")})
    assert problem_of(answer)["code"] == "InvalidImageFormatException"
    answer = http.post("/identify", json={"image_base64": ""})
    assert problem_of(answer)["reason"] == "InvalidImageFields"


def test_rekognition_takes_jpeg_and_png_only_and_the_others_also_webp_and_heic(
    rekognition: "RekognitionClient", http: httpx.Client
) -> None:
    image = photos.opened(photos.astronaut())
    for kind in ("WEBP", "HEIF"):
        data = photos.encode(image, kind)
        with pytest.raises(rekognition.exceptions.InvalidImageFormatException):
            rekognition.detect_faces(Image={"Bytes": data})
        answer = http.post("/api/v1/detect-faces", files={"file": ("a", data)})
        assert len(answer.json()["FaceDetails"]) == 1


def test_image_without_face_is_refused_where_a_face_is_needed(
    rekognition: "RekognitionClient", http: httpx.Client
) -> None:
    empty = photos.without_face()
    rekognition.create_collection(CollectionId="needs-a-face")
    with pytest.raises(
        rekognition.exceptions.InvalidParameterException,
        match=r"There are no faces in the image\. Should be at least 1\.",
    ):
        rekognition.search_faces_by_image(CollectionId="needs-a-face", Image={"Bytes": empty})
    rekognition.delete_collection(CollectionId="needs-a-face")
    for source, target in ((empty, photos.astronaut()), (photos.astronaut(), empty)):
        with pytest.raises(
            rekognition.exceptions.InvalidParameterException, match="Request has invalid parameters"
        ):
            rekognition.compare_faces(SourceImage={"Bytes": source}, TargetImage={"Bytes": target})
    for path, fields in (("/enroll/file", {"member_id": "faceless"}), ("/identify", {})):
        answer = http.post(path, files={"file": ("a.jpg", empty)}, data=fields)
        assert answer.status_code == 422
        assert problem_of(answer)["reason"] == "NoFaceFound"
    answer = http.post("/verify", files={"file": ("a.jpg", empty)}, data={"member_id": "faceless"})
    assert answer.status_code == 404


def test_png_of_400_megapixels_in_a_few_kilobytes_costs_nothing(
    service: RunningService, rekognition: "RekognitionClient", http: httpx.Client
) -> None:
    bomb = photos.huge_png()
    assert len(bomb) < 100_000
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    with pytest.raises(rekognition.exceptions.ImageTooLargeException):
        rekognition.detect_faces(Image={"Bytes": bomb})
    answer = http.post("/identify", files={"file": ("a.png", bomb)})
    assert (answer.status_code, problem_of(answer)["code"]) == (413, "ImageTooLargeException")
    assert process.memory_info().rss - before < 100_000_000


def test_image_below_80_pixels_is_refused_by_rekognition(rekognition: "RekognitionClient") -> None:
    small = photos.encode(photos.opened(photos.astronaut()).resize((79, 100)))
    with pytest.raises(
        rekognition.exceptions.InvalidParameterException, match="Request has invalid parameters"
    ):
        rekognition.detect_faces(Image={"Bytes": small})


def test_image_over_5_mib_is_refused_by_rekognition(rekognition: "RekognitionClient") -> None:
    image = photos.astronaut() + bytes(5 * 1024 * 1024)
    with pytest.raises(rekognition.exceptions.ImageTooLargeException, match="Image size is too large"):
        rekognition.detect_faces(Image={"Bytes": image})


def test_body_over_the_limit_is_refused_whether_announced_or_not(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1024 * 1024)

    json_type = {"Content-Type": "application/json"}
    for content in (bytes(20 * 1024 * 1024), chunks()):
        answer = http.post("/identify", content=content, headers=json_type)
        assert (answer.status_code, problem_of(answer)["code"]) == (413, "RequestEntityTooLargeException")
    answer = http.post(
        "/", content=bytes(20 * 1024 * 1024), headers={"X-Amz-Target": "RekognitionService.DetectFaces"}
    )
    assert answer.status_code == 400
    assert answer.json()["__type"] == "RequestEntityTooLargeException"
    answer = http.post("/identify", files={"file": ("a.jpg", bytes(20 * 1024 * 1024))})
    assert answer.status_code == 413


@pytest.mark.parametrize("text", ["%%%", "abcde", "a" * 101, "/9j/4AAQ*", "data:image/jpeg;base64,?"])
def test_bad_base64_is_refused(service_url: str, http: httpx.Client, text: str) -> None:
    answer = httpx.post(
        service_url,
        json={"Image": {"Bytes": text}},
        headers={"X-Amz-Target": "RekognitionService.DetectFaces"},
    )
    assert (answer.status_code, answer.json()["__type"]) == (400, "SerializationException")
    answer = http.post("/identify", json={"image_base64": text})
    assert answer.status_code == 422
    assert "image_base64: is not valid base64" in problem_of(answer)["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/identify", {"image_base64": 7}),
        ("/identify", {"image_base64": ["/9j/"]}),
        ("/identify", {"image_base64": "AAAA", "top_k": "many"}),
        ("/identify", {"image_base64": "AAAA", "top_k": 0}),
        ("/identify", {"image_base64": "AAAA", "threshold": 80}),
        ("/identify", {"image_base64": "AAAA", "image_url": "https://example.org/a.jpg"}),
        ("/identify", {"image_base64": "AAAA", "treshold": 0.5}),
        ("/identify", {"file": "AAAA"}),
        ("/identify", {}),
        ("/enroll", {"image_base64": "AAAA"}),
        ("/enroll", {"image_base64": "AAAA", "member_id": [7]}),
        ("/compare", {"a_image_base64": "AAAA"}),
        ("/api/v1/detect-faces", {"image_base64": "AAAA", "max_faces": 0}),
        ("/api/v1/detect-faces", {"s3_bucket": "photos"}),
        ("/api/v1/collections", {"collection_id": "a b"}),
        ("/api/v1/collections", {"collection_id": "a\0"}),
        ("/api/v1/collections", []),
    ],
)
def test_wrong_fields_are_refused_by_name(http: httpx.Client, path: str, body: Any) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, problem_of(answer)["code"]) == (422, "InvalidParameterException")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b'{"image_base64": NaN}', 400),
        ("application/x-www-form-urlencoded", b"member_id=1", 415),
        ("multipart/form-data; boundary=x; charset=punycode", b"--x--", 415),
        ("text/plain", b"hello", 415),
        ("multipart/form-data", b"no boundary", 400),
        ("multipart/form-data; boundary=x", b"no parts", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken", 422),  # no part, so no image
    ],
)
def test_unreadable_bodies_are_refused(
    http: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    answer = http.post("/identify", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    problem_of(answer)


@pytest.mark.parametrize("member_id", ["", " ", "a\0b", "a\nb", "x" * 256, "a\u202eb"])
def test_member_ids_that_are_not_printable_are_refused(http: httpx.Client, member_id: str) -> None:
    image = base64.b64encode(photos.astronaut()).decode()
    answer = http.post("/enroll", json={"member_id": member_id, "image_base64": image})
    assert answer.status_code == 422
    assert problem_of(answer)["reason"] == ("InvalidField" if "\0" in member_id else "InvalidId")


def test_nul_in_ids_is_refused_everywhere(http: httpx.Client) -> None:
    assert http.get("/api/v1/collections/a%00b").status_code == 422
    assert http.post("/identify?collection=a%00b", json={"image_base64": "AAAA"}).status_code == 422
    assert http.get("/api/v1/collections?next_token=%00").status_code == 400


def test_floods_of_wrong_elements_get_a_short_answer(service_url: str, http: httpx.Client) -> None:
    for body, target in (
        ({"Image": {"Bytes": "AAAA"}, "Attributes": ["x"] * 300_000}, "DetectFaces"),
        ({"CollectionId": "a", "FaceIds": ["x"] * 300_000}, "DeleteFaces"),
        ({"CollectionId": "a", "Tags": {f"?{n}": "?" for n in range(100_000)}}, "CreateCollection"),
        ({"CollectionId": {"x" * 1_000_000: 1}}, "CreateCollection"),
    ):
        headers = {"X-Amz-Target": f"RekognitionService.{target}"}
        answer = httpx.post(service_url, json=body, headers=headers, timeout=30)
        assert answer.status_code == 400
        assert len(answer.content) < 2000
    answer = http.post("/identify", json={f"field-{n}": n for n in range(200_000)})
    assert answer.status_code == 422
    assert len(answer.content) < 2000


def test_a_forged_page_token_is_refused(http: httpx.Client) -> None:
    token = Listing(b"a guess", "000000000000", "faces of forged").token(str(uuid4()))
    http.post("/api/v1/collections", json={"collection_id": "forged"})
    answer = http.get("/api/v1/collections/forged/faces", params={"next_token": str(token)})
    http.delete("/api/v1/collections/forged")
    assert (answer.status_code, problem_of(answer)["code"]) == (400, "InvalidPaginationTokenException")


@pytest.mark.parametrize("path", ["/", "/identify", "/enroll/file"])
def test_a_client_that_goes_away_in_its_body_is_no_error_of_ours(service_url: str, path: str) -> None:
    address = httpx.URL(service_url)
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        with socket.create_connection((address.host, address.port or 80)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n"
            connection.sendall(f"{head}X-Amz-Target: RekognitionService.DetectFaces\r\n\r\n--x".encode())


def test_a_face_in_a_very_wide_picture_is_no_trouble(http: httpx.Client, collection: str) -> None:
    wide = Image.new("RGB", (33_000, 600), "grey")
    wide.paste(photos.opened(photos.astronaut()), (30_000, 40))
    answer = http.post(
        "/api/v1/compare-faces",
        files={"source": photos.astronaut(), "target": photos.encode(wide.crop((29_000, 0, 33_000, 600)))},
    )
    assert answer.json()["FaceMatches"][0]["Similarity"] > 99
    answer = http.post(f"/api/v1/collections/{collection}/index-faces", files={"file": photos.encode(wide)})
    assert answer.status_code == 200


def test_unknown_collection_and_member_are_not_found(http: httpx.Client) -> None:
    upload = {"file": ("a.png", photos.astronaut())}
    for path in ("/api/v1/collections/nowhere/search-faces", "/api/v1/collections/nowhere/index-faces"):
        answer = http.post(path, files=upload)
        assert (answer.status_code, problem_of(answer)["code"]) == (404, "ResourceNotFoundException")
    for path in ("/enroll?collection=nowhere", "/verify?collection=nowhere"):
        assert http.post(path, files=upload, data={"member_id": "1"}).status_code == 404
    answer = http.post("/verify", files=upload, data={"member_id": "nobody@example.org"})
    assert (answer.status_code, problem_of(answer)["code"]) == (404, "ResourceNotFoundException")
    assert http.get("/api/v1/collections/nowhere").status_code == 404
    assert http.get("/nowhere").status_code == 404
    assert http.get("/identify").status_code == 405


@pytest.fixture
def private_site() -> Iterator[Site]:
    """A server on loopback that counts who comes."""
    with serving() as site:
        yield site


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0.0.0.0"],
)
def test_urls_to_loopback_are_refused_and_not_visited(
    http: httpx.Client, private_site: Site, host: str
) -> None:
    port = private_site.server_port
    for url in (f"http://{host}:{port}/a.jpg", f"http://{host}/a.jpg", f"https://{host}/a.jpg"):
        answer = http.post("/identify", json={"image_url": url})
        assert answer.status_code == 422
        assert problem_of(answer)["reason"] in {"ImageUrlNotAllowed", "ImageUrlUnreachable"}
    assert private_site.visits == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "ImageUrlNotAllowed"),
        ("http://10.0.0.1/a.jpg", "ImageUrlNotAllowed"),
        ("http://[fe80::1]/a.jpg", "ImageUrlNotAllowed"),
        ("http://[fd00::1]/a.jpg", "ImageUrlNotAllowed"),
        ("ftp://example.org/a.jpg", "ImageUrlInvalid"),
        ("file:///etc/passwd", "ImageUrlInvalid"),
        ("http://user:secret@example.org/a.jpg", "ImageUrlInvalid"),
        ("http://", "ImageUrlInvalid"),
        ("a.jpg", "ImageUrlInvalid"),
        ("http://no-such-host.invalid/a.jpg", "ImageUrlUnreachable"),
        ("http://xn--/a.jpg", "ImageUrlUnreachable"),
        ("http://example.org:99999/a.jpg", "ImageUrlInvalid"),
        ("http://example.org:22/a.jpg", None),
        ("http://exa mple.org/a.jpg", None),
        ("http://\0/a.jpg", None),
    ],
)
def test_urls_that_lead_nowhere_allowed_are_refused(http: httpx.Client, url: str, reason: str | None) -> None:
    answer = http.post("/compare", json={"a_image_url": url, "b_image_url": url})
    assert answer.status_code == 422
    if reason is not None:
        assert problem_of(answer)["reason"] == reason


def test_s3_object_outside_the_allowed_places_is_refused(
    rekognition: "RekognitionClient", http: httpx.Client, face_count: Callable[[str], int]
) -> None:
    with pytest.raises(
        rekognition.exceptions.InvalidS3ObjectException, match="Unable to get object metadata from S3"
    ):
        rekognition.detect_faces(Image={"S3Object": {"Bucket": "anybody", "Name": "a.jpg"}})
    answer = http.post("/identify", json={"s3_bucket": "anybody", "s3_key": "a.jpg"})
    assert (answer.status_code, problem_of(answer)["code"]) == (422, "InvalidS3ObjectException")
