"""S3Object against a real S3 server that checks signatures: SeaweedFS."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.service import running
from tests import photos
from tests.programs import program

KEY_ID, SECRET = "test-key", "test-secret"


@dataclass(frozen=True)
class S3Server:
    url: str
    process: "subprocess.Popen[bytes]"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return [int(port) for port in ports]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("seaweedfs")
    identity = {
        "name": "service", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}], "actions": ["Admin"]
    }  # fmt: skip
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3_port, *grpc = free_ports(8)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("weed"), "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-master.port={master}", f"-master.port.grpc={grpc[0]}", f"-volume.port={volume}",
                f"-volume.port.grpc={grpc[1]}", f"-filer.port={filer}", f"-filer.port.grpc={grpc[2]}",
                f"-s3.port={s3_port}", f"-s3.port.grpc={grpc[3]}", f"-s3.config={config}",
                "-master.volumeSizeLimitMB=64", "-volume.max=10",
            ],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        yield S3Server(f"http://127.0.0.1:{s3_port}", process)
    finally:
        process.kill()  # its own shutdown takes half a minute, and nothing of it is kept
        process.wait()


@pytest.fixture(scope="module")
def filled(s3: S3Server) -> S3Server:
    """With a photo in an allowed prefix and one beside it."""
    client = boto3.client(
        "s3", endpoint_url=s3.url, region_name="us-east-1", aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET, config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="photos")
            break
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline or s3.process.poll() is not None:
                raise
            time.sleep(0.3)
    for key in ("event/t1.jpg", "private/t1.jpg"):
        client.put_object(Bucket="photos", Key=key, Body=photos.group())
    client.put_object(Bucket="photos", Key="event/large.jpg", Body=photos.group() + bytes(15_000_000))
    client.put_object(Bucket="photos", Key="event/medium.jpg", Body=photos.group() + bytes(6_000_000))
    client.put_object(Bucket="photos", Key="event/text.jpg", Body=b"no photo")
    client.close()
    return s3


def test_objects_of_allowed_prefixes_are_read_and_no_others(filled: S3Server) -> None:
    with running(
        S3_ENDPOINT_URL=filled.url, S3_ACCESS_KEY_ID=KEY_ID, S3_SECRET_ACCESS_KEY=SECRET,
        S3_ALLOWED="photos/event/, other",
    ) as service:  # fmt: skip
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
    with running(
        S3_ENDPOINT_URL=filled.url, S3_ACCESS_KEY_ID=KEY_ID, S3_SECRET_ACCESS_KEY="wrong", S3_ALLOWED="photos"
    ) as service:
        client = rekognition_client(service.url)
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            client.detect_faces(Image={"S3Object": {"Bucket": "photos", "Name": "event/t1.jpg"}})
    (closed,) = free_ports(1)
    with running(
        S3_ENDPOINT_URL=f"http://127.0.0.1:{closed}", S3_ACCESS_KEY_ID=KEY_ID, S3_SECRET_ACCESS_KEY=SECRET,
        S3_ALLOWED="photos",
    ) as service:  # fmt: skip
        client = rekognition_client(service.url)
        with pytest.raises(ClientError) as failure:
            client.detect_faces(Image={"S3Object": {"Bucket": "photos", "Name": "event/t1.jpg"}})
        assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
