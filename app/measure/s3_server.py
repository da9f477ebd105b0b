"""A real S3 server that checks signatures: SeaweedFS."""

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.measure.programs import program

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

KEY_ID, SECRET = "test-key", "test-secret"
BUCKET = "photos"
_START_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3Server:
    """A server with the empty bucket `photos`."""

    url: str
    process: "subprocess.Popen[bytes]"

    def client(self) -> "S3Client":
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def settings(self, **more: str) -> dict[str, str]:
        """The service's settings for this server, by their names in the environment."""
        own = {"S3_ENDPOINT_URL": self.url, "S3_ACCESS_KEY_ID": KEY_ID, "S3_SECRET_ACCESS_KEY": SECRET}
        return {**own, **more}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return [int(port) for port in ports]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server that runs while this is open, and takes objects already."""
    with tempfile.TemporaryDirectory(prefix="seaweedfs-", ignore_cleanup_errors=True) as folder:
        server = _start(Path(folder))
        try:
            _wait(server)
            yield server
        finally:
            server.process.kill()  # its own shutdown takes half a minute, and nothing of it is kept
            server.process.wait()


def _start(folder: Path) -> S3Server:
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
                "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=40",
            ],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    return S3Server(f"http://127.0.0.1:{s3_port}", process)


def _wait(server: S3Server) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    with closing(server.client()) as client:
        while True:
            try:
                if BUCKET not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
                client.delete_object(Bucket=BUCKET, Key="ready")
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline or server.process.poll() is not None:
                    raise
                time.sleep(0.3)
