"""Labelled faces on disk: the LFW and WIDER FACE layouts that `evaluate` reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo of one person; `name` is its path inside the dataset."""

    name: str
    person: str
    path: Path


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos of an official verification protocol."""

    one: str
    other: str
    same: bool


@dataclass(frozen=True, slots=True)
class AnnotatedPhoto:
    """A photo with the boxes of all its faces: (n, 4) as x, y, width, height in pixels.

    `valid` is False for boxes that the annotators found too small or too unclear to count.
    """

    path: Path
    boxes: NDArray[np.float64]
    valid: NDArray[np.bool_]


def people(folder: Path, left_out: frozenset[str] = frozenset()) -> list[LabelledPhoto]:
    """Photos of a folder with one folder per person, without those named in `left_out`."""
    photos = [
        LabelledPhoto(f"{path.parent.name}/{path.name}", path.parent.name, path)
        for path in sorted(folder.glob("*/*.jpg"))
    ]
    return [photo for photo in photos if photo.name not in left_out]


def pairs(file: Path) -> list[Pair]:
    """Lines `path_a path_b 1|0`."""
    found = []
    for line in file.read_text().splitlines():
        one, other, same = line.split()
        found.append(Pair(one, other, same == "1"))
    return found


def annotated(folder: Path, boxes_file: Path) -> list[AnnotatedPhoto]:
    """Photos with WIDER FACE's annotations."""
    document = json.loads(boxes_file.read_text())
    invalid = document["columns"].index("invalid")
    photos = []
    for name, rows in document["images"].items():
        table = np.array(rows, dtype=np.float64).reshape(-1, len(document["columns"]))
        photos.append(AnnotatedPhoto(folder / name, table[:, :4], table[:, invalid] == 0))
    return photos


def names_in(file: Path) -> frozenset[str]:
    """The first word of each line that is no comment."""
    lines = (line.split("#")[0].split() for line in file.read_text().splitlines())
    return frozenset(words[0] for words in lines if words)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a photo in pixels, read from its header."""
    with Image.open(path) as image:
        return image.size
