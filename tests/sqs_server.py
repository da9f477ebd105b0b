"""An SQS server over HTTP: moto, in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from json import dumps
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from app.measure.s3_server import free_ports

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_REGION = "us-east-1"
_START_TIMEOUT_S = 60
_MOST = 10


@dataclass(frozen=True)
class SqsServer:
    """A server without queues."""

    url: str

    def client(self) -> "SQSClient":
        return boto3.client(
            "sqs", endpoint_url=self.url, region_name=_REGION, aws_access_key_id="test-key",
            aws_secret_access_key="test-secret",
        )  # fmt: skip

    def settings(self, queue_url: str) -> dict[str, str]:
        """The service's settings for a queue of this server, by their names in the environment."""
        return {
            "SQS_QUEUE_URL": queue_url,
            "SQS_ENDPOINT_URL": self.url,
            "SQS_REGION": _REGION,
            "SQS_ACCESS_KEY_ID": "test-key",
            "SQS_SECRET_ACCESS_KEY": "test-secret",
        }


@dataclass(frozen=True)
class Queue:
    """A queue, and the one that messages go to that were received twice and not deleted."""

    client: "SQSClient"
    url: str
    dead_url: str

    def send(self, bodies: Sequence[str]) -> None:
        """Put messages in, in this order."""
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self) -> int:
        """How many messages are not deleted, received or not."""
        found = self.client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(map(int, found.values()))

    def dead(self) -> list[str]:
        """The messages that were given up, which are gone then."""
        bodies: list[str] = []
        while found := self.client.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=_MOST).get(
            "Messages"
        ):
            for message in found:
                bodies.append(message["Body"])
                self.client.delete_message(QueueUrl=self.dead_url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


@contextmanager
def sqs_server() -> Iterator[SqsServer]:
    """A server that runs while this is open, and answers already."""
    [port] = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = SqsServer(f"http://127.0.0.1:{port}")
    try:
        _wait(server, process)
        yield server
    finally:
        process.kill()
        process.wait()


@contextmanager
def queue_with_dead_letters(server: SqsServer, name: str, *, visibility_s: int) -> Iterator[Queue]:
    """A queue of `maxReceiveCount` 2; a message that was received is hidden for `visibility_s`."""
    with closing(server.client()) as client:
        dead_url = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]
        redrive = dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 2})
        url = client.create_queue(
            QueueName=name, Attributes={"VisibilityTimeout": str(visibility_s), "RedrivePolicy": redrive}
        )["QueueUrl"]
        yield Queue(client, url, dead_url)


def _wait(server: SqsServer, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    with closing(server.client()) as client:
        while True:
            try:
                client.list_queues()
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
            else:
                return
