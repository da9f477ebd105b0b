"""What lies in the folder that `evaluate` is given: one's own photos, or the sets of docs/accuracy.md."""

from dataclasses import dataclass
from pathlib import Path

from app.measure import datasets
from app.measure.datasets import AnnotatedPhoto, DatasetError, LabelledPhoto, Pair

LABEL_ERRORS = Path(__file__).with_name("lfw_label_errors.txt")
LFW, LFW_PAIRS = "lfw-dev", "lfw-dev-pairs.txt"
WIDER, WIDER_BOXES = "wider-dev", "wider-dev-boxes.json"
PAIRS, GROUPS, BOXES = "pairs.txt", "groups.csv", "boxes.json"


@dataclass(frozen=True, slots=True)
class Data:
    """What there is to measure on; empty where a part is missing.

    `folder` is where the names of `people` and `pairs` begin. `people` are the photos of `everybody` whose
    label is not known to be wrong. `is_lfw` says that the person whom a photo is named for is the one nearest
    its centre, and that the studies made for these photos can be repeated.
    """

    name: str
    folder: Path
    everybody: list[LabelledPhoto]
    people: list[LabelledPhoto]
    pairs: list[Pair]
    groups: dict[str, str]
    scenes: list[AnnotatedPhoto]
    is_lfw: bool


def read(data: Path) -> Data:
    """What lies in a folder.

    Raises:
        DatasetError: nothing that can be measured on, or a file that cannot be read.
    """
    if not data.is_dir():
        raise DatasetError(f"{data} is no folder")
    is_lfw = (data / LFW).is_dir()
    if is_lfw or (data / WIDER).is_dir():
        return _read(data, data / LFW, LFW_PAIRS, data / WIDER, WIDER_BOXES, is_lfw=is_lfw)
    return _read(data, data, PAIRS, data, BOXES, is_lfw=False)


def _read(data: Path, folder: Path, pairs: str, scenes: Path, boxes: str, *, is_lfw: bool) -> Data:
    everybody = datasets.people(folder) if folder.is_dir() else []
    mislabelled = datasets.names_in(LABEL_ERRORS) if is_lfw else frozenset()
    people = [photo for photo in everybody if photo.name not in mislabelled]
    known = frozenset(photo.person for photo in everybody)
    found = Data(
        folder.name,
        folder,
        everybody,
        people,
        datasets.pairs(data / pairs, folder) if (data / pairs).is_file() else [],
        datasets.groups(folder / GROUPS, known) if (folder / GROUPS).is_file() else {},
        datasets.annotated(scenes, data / boxes) if (data / boxes).is_file() else [],
        is_lfw,
    )
    if not (found.people or found.scenes):
        raise DatasetError(f"{data} holds no photos: it needs a folder for each person, with their photos")
    return found
