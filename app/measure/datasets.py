"""Labelled faces on disk: photos by person, pairs, groups of people, and photos with annotated boxes."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".heic")


class DatasetError(Exception):
    """The data is nothing that can be measured on; the text is one line for whoever made it."""


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
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in PHOTO_ENDINGS
    ]
    return [photo for photo in photos if photo.name not in left_out]


def pairs(file: Path, folder: Path) -> list[Pair]:
    """Lines `path_a path_b 1|0`, the paths inside `folder`; tabs part them where they hold spaces.

    Raises:
        DatasetError: a line is none of these, or names a photo that is not there.
    """
    found = []
    with _readable(file):
        lines = file.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split("\t") if "\t" in line else line.split()
        if len(words) != 3 or words[2] not in ("0", "1"):
            raise DatasetError(f"{file}, line {number}: not `photo photo 1` or `photo photo 0`")
        for name in words[:2]:
            if not (folder / name).is_file():
                raise DatasetError(f"{file}, line {number}: there is no photo {name}")
        found.append(Pair(words[0], words[1], words[2] == "1"))
    return found


def groups(file: Path, known: frozenset[str]) -> dict[str, str]:
    """The group of each person, from a CSV file with the columns person and group.

    Raises:
        DatasetError: a column or a value is missing, or a person is none of `known` or in two groups.
    """
    found: dict[str, str] = {}
    with _readable(file), file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, strict=True)
        if not {"person", "group"} <= set(rows.fieldnames or ()):
            raise DatasetError(f"{file}: its first line must name the columns person and group")
        for row in rows:
            person, group = row["person"], (row["group"] or "").strip()
            if person not in known:
                raise DatasetError(f"{file}, line {rows.line_num}: {person!r} has no folder with photos")
            if not group or found.get(person, group) != group:
                raise DatasetError(f"{file}, line {rows.line_num}: {person!r} needs one group")
            found[person] = group
    return found


def annotated(folder: Path, boxes_file: Path) -> list[AnnotatedPhoto]:
    """Photos with the boxes of their faces, laid out as WIDER FACE's annotations are here.

    The file is `{"columns": ["x", "y", "w", "h", ...], "images": {path: [[...], ...]}}`, in pixels of the
    upright photo. A column `invalid`, if there is one, is 1 for faces that don't count.

    Raises:
        DatasetError: the file is none of this, or names a photo that is not there.
    """
    photos = []
    with _readable(boxes_file):
        document = json.loads(boxes_file.read_text("utf-8"))
        columns = list(document["columns"])
        sides = [columns.index(side) for side in ("x", "y", "w", "h")]
        for name, rows in document["images"].items():
            table = np.array(rows, dtype=np.float64).reshape(-1, len(columns))
            invalid = columns.index("invalid") if "invalid" in columns else None
            valid = np.ones(len(table), np.bool_) if invalid is None else table[:, invalid] == 0
            photos.append(AnnotatedPhoto(folder / name, table[:, sides], valid))
    for photo in photos:
        if not photo.path.is_file():
            raise DatasetError(f"{boxes_file}: there is no photo {photo.path.relative_to(folder)}")
    if not photos:
        raise DatasetError(f"{boxes_file} names no photo")
    return photos


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what reading a person's file may raise into one line."""
    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{file} is not laid out as docs/accuracy.md says") from error


def names_in(file: Path) -> frozenset[str]:
    """The first word of each line that is no comment."""
    lines = (line.split("#")[0].split() for line in file.read_text().splitlines())
    return frozenset(words[0] for words in lines if words)
