"""Messages about photos from an SQS queue: S3 event notifications, and `{"galleryId", "r2Key"}`.

A message is deleted once what it says is committed. One that can't be read stays: the queue's redrive
policy moves it to its dead-letter queue after so many tries.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.errors import InvalidParameterException, ResourceNotFoundException, ServiceUnavailableError
from app.metrics import Metrics
from app.service.intake import Intake
from app.settings import Settings
from app.store.database import StatementFailedError

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger(__name__)

# A worker that is to stop waits for the answer, so no longer than a container is given to stop.
_LONG_POLL_S = 5
_MOST = 10
_WAIT_S = 5.0
_NAME_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """An object of S3 was written or removed."""

    bucket: str
    key: str
    removed: bool


@dataclass(frozen=True, slots=True)
class PhotoNamed:
    """A photo of an album, by its key in the bucket of the album's source."""

    album_id: str
    key: str


class PoisonMessageError(Exception):
    """A message that is none of those known."""


def read(body: str) -> Sequence[ObjectChanged | PhotoNamed]:
    """What a message says; nothing when it is one that needs no work, such as S3's test event.

    Raises:
        PoisonMessageError: it can't be read.
    """
    try:
        message = json.loads(body)
        if message.get("Type") == "Notification" and isinstance(message.get("Message"), str):
            message = json.loads(message["Message"])  # by way of SNS
        if "galleryId" in message or "r2Key" in message:
            return [PhotoNamed(_text(message["galleryId"]), _text(message["r2Key"]))]
        if message.get("Event") == "s3:TestEvent":
            return []
        return [change for record in message["Records"] for change in _record(record)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PoisonMessageError(type(error).__name__) from None


def _record(record: dict[str, Any]) -> list[ObjectChanged]:
    name = str(record["eventName"]).removeprefix("s3:")
    if not name.startswith(("ObjectCreated", "ObjectRemoved", "LifecycleExpiration")):
        return []
    where = record["s3"]
    key = _text(unquote_plus(where["object"]["key"]))
    return [ObjectChanged(_text(where["bucket"]["name"]), key, not name.startswith("ObjectCreated"))]


def _text(value: Any) -> str:
    """What can be the name of something: UTF-8 without NUL, no longer than a key can be."""
    if not isinstance(value, str) or "\0" in value or not 0 < len(value.encode()) <= _NAME_MAX_BYTES:
        raise ValueError("not a name")
    return value


class SqsIntake:
    """Takes messages until cancelled."""

    def __init__(self, settings: Settings, intake: Intake, metrics: Metrics) -> None:
        assert settings.sqs_queue_url is not None
        self._settings = settings
        self._queue_url = settings.sqs_queue_url
        self._intake = intake
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="sqs")

    async def run(self) -> None:
        """Poll, for ever. A queue that can't be reached is tried again."""
        loop = asyncio.get_running_loop()
        try:
            client = await loop.run_in_executor(self._executor, self._connect)
            while True:
                try:
                    messages = await loop.run_in_executor(self._executor, self._receive, client)
                    for message in messages:
                        if await self._take(message):
                            await loop.run_in_executor(
                                self._executor, self._delete, client, message["ReceiptHandle"]
                            )
                except (BotoCoreError, ClientError, ServiceUnavailableError, StatementFailedError) as error:
                    log.warning("messages about photos wait: %s", type(error).__name__)
                    await asyncio.sleep(_WAIT_S)
                except Exception:  # of one message, it may be: the others must not wait for a new worker
                    log.exception("messages about photos failed in a way that nobody foresaw")
                    await asyncio.sleep(_WAIT_S)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _take(self, message: "MessageTypeDef") -> bool:
        """Whether a message was understood and what it says is committed."""
        try:
            covered = [await self._enter(said) for said in read(message.get("Body", ""))]
        except (PoisonMessageError, ResourceNotFoundException, InvalidParameterException) as error:
            log.warning("a message about a photo can't be taken: %s", type(error).__name__)
            self._metrics.intake_messages.labels("poison").inc()
            return False
        self._metrics.intake_messages.labels("taken" if any(covered) else "ignored").inc()
        return True

    async def _enter(self, said: ObjectChanged | PhotoNamed) -> bool:
        if isinstance(said, PhotoNamed):
            await self._intake.named(said.album_id, said.key)
            return True
        return bool(await self._intake.changed(said.bucket, said.key, removed=said.removed))

    def _receive(self, client: "SQSClient") -> Sequence["MessageTypeDef"]:
        found = client.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=_MOST, WaitTimeSeconds=_LONG_POLL_S
        )
        return found.get("Messages", [])

    def _delete(self, client: "SQSClient", receipt: str) -> None:
        client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=receipt)

    def _connect(self) -> "SQSClient":
        secret = self._settings.sqs_secret_access_key
        return boto3.session.Session().client(
            "sqs",
            endpoint_url=self._settings.sqs_endpoint_url,
            region_name=self._settings.sqs_region,
            aws_access_key_id=self._settings.sqs_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(connect_timeout=5, read_timeout=_LONG_POLL_S + 10),
        )
