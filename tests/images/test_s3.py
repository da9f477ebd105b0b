"""S3Object against a real S3 server that checks signatures: SeaweedFS."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import pytest
from botocore.exceptions import ClientError

from app.domain import ListedObject, S3Image
from app.errors import (
    ImageTooLargeException,
    InvalidS3ObjectException,
    PhotoNotFound,
    StorageUnavailableError,
)
from app.images.s3 import S3Reader
from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.s3_server import KEY_ID, SECRET, S3Server, free_ports, s3_server
from app.measure.service import running
from app.settings import Settings
from tests import photos
from tests.faults import faulty_s3
from tests.loopback import Handler, Site, serving

T = TypeVar("T")
ACCOUNT = "000000000000"
NAMES = ["a+b c/ä ö.jpg", "empty", *(f"many/{number:04}.jpg" for number in range(1100))]


@pytest.fixture(scope="module")
def filled() -> Iterator[S3Server]:
    """With a photo in an allowed prefix and one beside it."""
    with s3_server() as server:
        with closing(server.client()) as client:
            for key in ("event/t1.jpg", "private/t1.jpg"):
                client.put_object(Bucket="photos", Key=key, Body=photos.group())
            large, medium = photos.group() + bytes(15_000_000), photos.group() + bytes(6_000_000)
            client.put_object(Bucket="photos", Key="event/large.jpg", Body=large)
            client.put_object(Bucket="photos", Key="event/medium.jpg", Body=medium)
            client.put_object(Bucket="photos", Key="event/text.jpg", Body=b"no photo")
        yield server


def test_objects_of_allowed_prefixes_are_read_and_no_others(filled: S3Server) -> None:
    with running(**filled.settings(S3_ALLOWED="photos/event/, other")) as service:
        client = rekognition_client(service.url)

        def detect(key: str, bucket: str = "photos") -> int:
            return len(
                client.detect_faces(Image={"S3Object": {"Bucket": bucket, "Name": key}})["FaceDetails"]
            )

        assert detect("event/t1.jpg") == 6
        assert detect("event/medium.jpg") == 6  # over 5 MiB, which is the limit of inline images only
        for key in ("event/missing.jpg", "private/t1.jpg", "event/../private/t1.jpg", "event"):
            with pytest.raises(client.exceptions.InvalidS3ObjectException, match="object metadata"):
                detect(key)
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            detect("t1.jpg", bucket="no-such-bucket")
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            detect("t1.jpg", bucket="other")
        with pytest.raises(client.exceptions.ImageTooLargeException):
            detect("event/large.jpg")
        with pytest.raises(client.exceptions.InvalidImageFormatException):
            detect("event/text.jpg")
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            client.detect_faces(Image={"S3Object": {"Bucket": "photos"}})
        assert SECRET not in service.log


def test_wrong_credentials_look_like_a_missing_object_and_no_server_is_unavailable(filled: S3Server) -> None:
    with running(**filled.settings(S3_SECRET_ACCESS_KEY="wrong", S3_ALLOWED="photos")) as service:
        client = rekognition_client(service.url)
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            client.detect_faces(Image={"S3Object": {"Bucket": "photos", "Name": "event/t1.jpg"}})
    (closed,) = free_ports(1)
    closed_url = f"http://127.0.0.1:{closed}"
    with running(**filled.settings(S3_ENDPOINT_URL=closed_url, S3_ALLOWED="photos")) as service:
        client = rekognition_client(service.url)
        with pytest.raises(ClientError) as failure:
            client.detect_faces(Image={"S3Object": {"Bucket": "photos", "Name": "event/t1.jpg"}})
        assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def read(server_url: str, work: Callable[[S3Reader], Awaitable[T]], **more: str) -> T:
    """What a reader of its own makes of a server, of all of the bucket `photos`."""
    own = {"s3_endpoint_url": server_url, "s3_access_key_id": KEY_ID, "s3_secret_access_key": SECRET}
    names = {"s3_allowed": "photos", **own, **more}
    settings = Settings(_env_file=None, **names)  # type: ignore[call-arg,arg-type]  # pydantic-settings' own
    reader = S3Reader(settings)

    async def run() -> T:
        return await work(reader)

    try:
        return asyncio.run(run())
    finally:
        reader.close()


def image(key: str) -> S3Image:
    return S3Image(ACCOUNT, "photos", key)


async def listed(reader: S3Reader, prefix: str) -> list[ListedObject]:
    return [found async for found in reader.entries(image(prefix))]


@pytest.fixture(scope="module")
def many(filled: S3Server) -> S3Server:
    """With more objects than a page has."""
    with closing(filled.client()) as client, ThreadPoolExecutor(4) as threads:
        put = lambda name: client.put_object(Bucket="photos", Key=f"e/{name}", Body=name.encode())  # noqa: E731
        assert len(list(threads.map(put, NAMES))) == len(NAMES)
    return filled


@pytest.mark.parametrize("region", ["us-east-1", "auto"])
def test_a_listing_has_every_object_once_with_size_and_version(many: S3Server, region: str) -> None:
    found = read(many.url, lambda reader: listed(reader, "e/"), s3_region=region)
    assert [entry.source for entry in found] == [image(f"e/{name}") for name in sorted(NAMES)]
    assert [entry.size for entry in found] == [len(name.encode()) for name in sorted(NAMES)]
    some = read(many.url, lambda reader: listed(reader, "e/many/010"))
    assert [entry.source.key for entry in some if isinstance(entry.source, S3Image)] == [
        f"e/many/010{digit}.jpg" for digit in range(10)
    ]
    with pytest.raises(InvalidS3ObjectException):
        read(many.url, lambda reader: listed(reader, "e/../"))


def test_an_object_is_fetched_again_only_after_a_change(many: S3Server) -> None:
    async def work(reader: S3Reader) -> None:
        with closing(many.client()) as client:
            client.put_object(Bucket="photos", Key="c/photo.jpg", Body=b"before")
            (entry,) = await listed(reader, "c/")
            found = await reader.fetch_unless(image("c/photo.jpg"), 100, None)
            assert found is not None
            assert (found.data, found.version) == (b"before", entry.version)
            assert '"' not in found.version
            assert await reader.fetch_unless(image("c/photo.jpg"), 100, found.version) is None
            client.put_object(Bucket="photos", Key="c/photo.jpg", Body=b"behind")
            again = await reader.fetch_unless(image("c/photo.jpg"), 100, found.version)
            assert again is not None
            assert again.data == b"behind"
            assert again.version == (await listed(reader, "c/"))[0].version != found.version
            with pytest.raises(ImageTooLargeException):
                await reader.fetch_unless(image("c/photo.jpg"), 5, found.version)
            client.delete_object(Bucket="photos", Key="c/photo.jpg")
        with pytest.raises(PhotoNotFound):
            await reader.fetch_unless(image("c/photo.jpg"), 100, again.version)
        with pytest.raises(InvalidS3ObjectException):
            await reader.fetch(image("c/photo.jpg"), 100)
        with pytest.raises(InvalidS3ObjectException):
            await reader.fetch_unless(S3Image(ACCOUNT, "other", "c/photo.jpg"), 100, None)

    read(many.url, work)


def test_an_object_of_parts_has_one_version(many: S3Server) -> None:
    with closing(many.client()) as client:
        upload = client.create_multipart_upload(Bucket="photos", Key="p/parts.jpg")["UploadId"]
        part = client.upload_part(
            Bucket="photos", Key="p/parts.jpg", UploadId=upload, PartNumber=1, Body=bytes(6_000_000)
        )
        client.complete_multipart_upload(
            Bucket="photos", Key="p/parts.jpg", UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )  # fmt: skip
    (entry,) = read(many.url, lambda reader: listed(reader, "p/"))
    asked = image("p/parts.jpg")
    assert read(many.url, lambda reader: reader.fetch_unless(asked, 10_000_000, entry.version)) is None


def test_a_bucket_that_is_not_there_tells_nothing_of_a_photo(many: S3Server) -> None:
    there_not = S3Image(ACCOUNT, "no-such-bucket", "photo.jpg")
    with pytest.raises(InvalidS3ObjectException):
        read(many.url, lambda reader: reader.read(there_not, 100, None))


class Careless(Handler):
    """Does not look at If-None-Match, and ends some answers too early."""

    def respond(self, site: Site) -> None:
        self.send_response(200)
        self.send_header("ETag", 'W/"one"')
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789" if self.path.endswith("whole") else b"0123")


def test_a_server_that_ignores_versions_or_breaks_off_is_understood() -> None:
    with serving(handler=Careless) as site:
        found = read(site.url, lambda reader: reader.fetch_unless(image("whole"), 100, "two"))
        assert found is not None
        assert (found.data, found.version) == (b"0123456789", "one")
        assert read(site.url, lambda reader: reader.fetch_unless(image("whole"), 100, "one")) is None
        with pytest.raises(StorageUnavailableError):
            read(site.url, lambda reader: reader.fetch_unless(image("half"), 100, None))


def test_faults_are_tried_again_and_signatures_stay_right_behind_the_proxy(many: S3Server) -> None:
    async def work(reader: S3Reader) -> int:
        unavailable = 0
        for name in NAMES[:60]:
            try:
                assert await reader.fetch(image(f"e/{name}"), 100) == name.encode()
            except StorageUnavailableError:
                unavailable += 1
        await reader.put("photos", "f/put.jpg", b"put", "image/jpeg")
        await reader.delete("photos", "f/put.jpg")
        return unavailable

    with faulty_s3(many.url, share=0.2, seed=1) as proxy:
        assert read(proxy.url, work) <= 3  # three tries each
        assert 62 < proxy.requests < 100
        assert 0.1 < proxy.faults / proxy.requests < 0.35
        proxy.share = 1
        with pytest.raises(StorageUnavailableError):
            read(proxy.url, lambda reader: listed(reader, "e/"))
        proxy.share = 0
        with pytest.raises(InvalidS3ObjectException):
            read(proxy.url, lambda reader: reader.fetch(image("e/empty"), 100), s3_access_key_id="other")
