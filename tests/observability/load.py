"""A scripted mix of calls, good and bad, of all doors."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import httpx
import numpy as np
from botocore.exceptions import ClientError
from PIL import Image

from tests import photos
from tests.api.albums import made, process

if TYPE_CHECKING:
    from types_boto3_rekognition import RekognitionClient


def poor(data: bytes) -> bytes:
    """A photo that is blurred so much that a high QualityFilter refuses its face."""
    pixels = cv2.GaussianBlur(np.asarray(photos.opened(data)), (0, 0), 4)
    return photos.encode(Image.fromarray(pixels))


def upside_down(data: bytes) -> bytes:
    return photos.encode(photos.opened(data).transpose(Image.Transpose.ROTATE_180))


@dataclass
class Load:
    """Rounds of calls; each makes a collection and an album of its own.

    Args:
        folder: one that albums may take photos from.
    """

    rekognition: "RekognitionClient"
    http: httpx.Client
    folder: Path
    rounds: int = 0

    def prepare(self) -> None:
        """Photos for the albums, one of them broken."""
        face = photos.astronaut()
        small = photos.encode(photos.opened(face).resize((256, 256)))
        files = {"face.jpg": small, "turned.jpg": upside_down(small), "broken.jpg": small[:900]}
        for name, data in files.items():
            (self.folder / name).write_bytes(data)
        (self.folder / "nobody.jpg").write_bytes(photos.without_face())

    def run(self) -> None:
        """One round."""
        self.rounds += 1
        collection = f"load-{self.rounds}"
        self.rekognition.create_collection(CollectionId=collection)
        self._index(collection)
        self._search(collection)
        self._members()
        album = made(self.http, source=str(self.folder))
        now = process(self.http, album)
        assert (now["done"], now["failed"]) == (3, 1), now

    def _index(self, collection: str) -> None:
        group, face = photos.group(), photos.astronaut()
        for data in (group, face, upside_down(face), photos.without_face()):
            self.rekognition.index_faces(CollectionId=collection, Image={"Bytes": data})
        refused = self.rekognition.index_faces(
            CollectionId=collection, Image={"Bytes": poor(face)}, QualityFilter="HIGH"
        )
        assert refused["UnindexedFaces"]
        self.rekognition.detect_faces(Image={"Bytes": photos.without_face()})
        with suppress(ClientError):
            self.rekognition.index_faces(CollectionId="nobody-made-it", Image={"Bytes": face})
        self.http.post("/api/v1/detect-faces", files={"file": ("a.txt", b"no image")})

    def _search(self, collection: str) -> None:
        group, face = photos.group(), photos.astronaut()
        for data in (group, face):
            found = self.rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": data})
            assert found["FaceMatches"]
        self.rekognition.delete_faces(
            CollectionId=collection,
            FaceIds=[
                face["FaceId"] for face in self.rekognition.list_faces(CollectionId=collection)["Faces"]
            ],
        )
        found = self.rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": face})
        assert not found["FaceMatches"]
        self.rekognition.compare_faces(SourceImage={"Bytes": face}, TargetImage={"Bytes": group})

    def _members(self) -> None:
        face = {"image": ("a.png", photos.astronaut())}
        self.http.post("/enroll", data={"member_id": "eileen"}, files=face).raise_for_status()
        assert self.http.post("/identify", files=face).json()["identified"]
