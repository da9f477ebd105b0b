"""Official verification pairs through the HTTP door: boto3 CompareFaces against a running service."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import numpy as np
from botocore.config import Config
from numpy.typing import NDArray

from app.measure.datasets import Pair

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient

CLIENTS = 4
# A pair in which a face is not found, or a photo not taken, counts as different people with certainty.
NOT_FOUND = -1.0


def rekognition(url: str, clients: int = CLIENTS) -> "RekognitionClient":
    """An ordinary boto3 client whose endpoint is the service."""
    return boto3.session.Session().client(
        "rekognition",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106  # the loopback service checks no signature
        config=Config(max_pool_connections=clients, retries={"total_max_attempts": 1}),
    )


def similarities(url: str, folder: Path, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Similarity, 0..100, of the largest faces of each pair; NOT_FOUND where one has none or is refused."""
    client = rekognition(url)
    refusals = (
        client.exceptions.InvalidParameterException,
        client.exceptions.InvalidImageFormatException,
        client.exceptions.ImageTooLargeException,
    )

    def one(pair: Pair) -> float:
        try:
            answer = client.compare_faces(
                SourceImage={"Bytes": (folder / pair.one).read_bytes()},
                TargetImage={"Bytes": (folder / pair.other).read_bytes()},
                SimilarityThreshold=0,
            )
        except refusals:
            return NOT_FOUND
        largest = max(answer["FaceMatches"], key=lambda match: match["Face"]["BoundingBox"]["Width"])
        return float(largest["Similarity"])

    with ThreadPoolExecutor(CLIENTS) as threads:
        return np.array(list(threads.map(one, pairs)))
